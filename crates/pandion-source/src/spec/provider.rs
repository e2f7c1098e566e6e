//! The providers of object stores, and where their endpoints are.

/// Whose object store it is: decides where the endpoint is and how it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum CloudProvider {
    Aws,
    Gcp,
    Aliyun,
    Tencent,
    Huawei,
    Azure,
    /// Any S3-compatible store of one's own.
    Minio,
}

impl CloudProvider {
    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name {
            "aws" => Some(Self::Aws),
            "gcp" => Some(Self::Gcp),
            "aliyun" => Some(Self::Aliyun),
            "tencent" => Some(Self::Tencent),
            "huawei" => Some(Self::Huawei),
            "azure" => Some(Self::Azure),
            "minio" => Some(Self::Minio),
            _ => None,
        }
    }

    /// The name as users write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Gcp => "gcp",
            Self::Aliyun => "aliyun",
            Self::Tencent => "tencent",
            Self::Huawei => "huawei",
            Self::Azure => "azure",
            Self::Minio => "minio",
        }
    }

    /// The host of the provider's public endpoint for a region; `None` when it does not follow
    /// from the two.
    #[must_use]
    pub fn endpoint_host(self, region: &str) -> Option<String> {
        match self {
            Self::Gcp => Some("storage.googleapis.com".to_owned()),
            Self::Minio => None,
            Self::Azure => Some(azure_domain(&region.to_ascii_lowercase()).to_owned()),
            _ if region.is_empty() => None,
            Self::Aws if region.starts_with("cn-") => Some(format!("s3.{region}.amazonaws.com.cn")),
            Self::Aws => Some(format!("s3.{region}.amazonaws.com")),
            Self::Aliyun => Some(format!("oss-{region}.aliyuncs.com")),
            Self::Tencent => Some(format!("cos.{region}.myqcloud.com")),
            Self::Huawei => Some(format!("obs.{region}.myhuaweicloud.com")),
        }
    }
}

fn azure_domain(region: &str) -> &'static str {
    if region.starts_with("china") {
        "core.chinacloudapi.cn"
    } else if region.starts_with("usgov") || region.starts_with("usdod") {
        "core.usgovcloudapi.net"
    } else if region.starts_with("germany") {
        "core.cloudapi.de"
    } else {
        "core.windows.net"
    }
}
