//! Which hosts are AWS's, and what an endpoint is: the two questions on which it hangs where this
//! server's own identity may be used.

use pandion_types::{Error, Result, Subject};
use url::Url;

/// An endpoint as a URL: `http` or `https`, a host, perhaps a port, and nothing else.
///
/// # Errors
/// `InvalidArgument` about the source, naming `key`, when `text` is anything else.
pub(crate) fn parse_endpoint(key: &str, text: &str) -> Result<Url> {
    let invalid = || {
        Error::invalid_argument(format!(
            "{key} {text:?} is not an endpoint of the form http://HOST[:PORT] or \
             https://HOST[:PORT]"
        ))
        .about(Subject::Source)
    };
    // A text with a user in it might hold a password, and is not repeated.
    if text.contains('@') {
        let message = format!("{key} must not hold a user or password");
        return Err(Error::invalid_argument(message).about(Subject::Source));
    }
    let url = Url::parse(text).map_err(|error| invalid().caused_by(error))?;
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !is_bare {
        return Err(invalid());
    }
    Ok(url)
}

/// `HOST:PORT`, as the endpoint policy writes it.
pub(crate) fn host_port(url: &Url) -> Option<String> {
    Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?))
}

/// Whether a host is one of S3's own. Names that customers of AWS can have below the same domain,
/// such as those of machines and load balancers, are not.
pub(crate) fn is_s3_host(host: &str) -> bool {
    let Some(labels) = labels_below_aws(host) else { return false };
    match labels.as_slice() {
        [service] => *service == "s3" || service.starts_with("s3-"),
        ["s3" | "s3-fips", "dualstack", _] | ["s3-accelerate", "dualstack"] => true,
        ["s3" | "s3-fips", _] => true,
        _ => is_private_endpoint(&labels, "s3"),
    }
}

/// Whether a host is one of AWS's catalogues of Iceberg tables.
pub(crate) fn is_catalog_host(host: &str) -> bool {
    matches!(labels_below_aws(host).as_deref(), Some(["glue" | "s3tables", _]))
}

/// Whether a host is one of the token service's own.
pub(crate) fn is_sts_host(host: &str) -> bool {
    let Some(labels) = labels_below_aws(host) else { return false };
    match labels.as_slice() {
        ["sts"] | ["sts" | "sts-fips", _] => true,
        _ => is_private_endpoint(&labels, "sts"),
    }
}

/// The token service's endpoint of a region, which must be the name of one.
pub(crate) fn sts_endpoint(region: &str) -> String {
    let top = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("https://sts.{region}.amazonaws.com{top}")
}

/// Whether a text may stand for a region in a host name: one label.
pub(crate) fn is_region_label(region: &str) -> bool {
    !region.is_empty()
        && region
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// `[BUCKET or ACCESS POINT.]vpce-ID.SERVICE.REGION.vpce`.
fn is_private_endpoint(labels: &[&str], service: &str) -> bool {
    match labels {
        [.., endpoint, found, _region, "vpce"] => {
            *found == service && endpoint.starts_with("vpce-")
        }
        _ => false,
    }
}

fn labels_below_aws(host: &str) -> Option<Vec<&str>> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let name =
        host.strip_suffix(".amazonaws.com").or_else(|| host.strip_suffix(".amazonaws.com.cn"))?;
    let labels: Vec<_> = name.split('.').collect();
    labels.iter().all(|label| !label.is_empty()).then_some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_s3_are_told_from_hosts_of_customers() {
        for host in [
            "s3.amazonaws.com",
            "s3.eu-west-1.amazonaws.com",
            "s3-eu-west-1.amazonaws.com",
            "s3.dualstack.eu-west-1.amazonaws.com",
            "s3-fips.us-gov-west-1.amazonaws.com",
            "s3.cn-north-1.amazonaws.com.cn",
            "s3-accelerate.amazonaws.com",
            "bucket.vpce-0a1b-2c3d.s3.us-east-1.vpce.amazonaws.com",
        ] {
            assert!(is_s3_host(host), "{host}");
        }
        for host in [
            "amazonaws.com",
            "s3.amazonaws.com.evil.example",
            "evil-amazonaws.com",
            "ec2-1-2-3-4.compute-1.amazonaws.com",
            "s3-mine-123.eu-west-1.elb.amazonaws.com",
            "x.execute-api.eu-west-1.amazonaws.com",
            "s3.x.execute-api.eu-west-1.amazonaws.com",
            "127.0.0.1",
            "minio.local",
        ] {
            assert!(!is_s3_host(host), "{host}");
        }
        assert!(is_catalog_host("glue.eu-west-1.amazonaws.com"));
        assert!(is_catalog_host("s3tables.eu-west-1.amazonaws.com"));
        assert!(!is_catalog_host("glue.x.elb.amazonaws.com"));
        assert!(is_sts_host("sts.eu-west-1.amazonaws.com"));
        assert!(is_sts_host("vpce-1-2.sts.eu-west-1.vpce.amazonaws.com"));
        assert!(!is_sts_host("sts.evil.example"));
    }

    #[test]
    fn an_endpoint_is_scheme_host_and_port() {
        for text in ["http://h", "https://h:8443/", "http://[::1]:80", "http://169.254.169.254"] {
            parse_endpoint("k", text).unwrap();
        }
        for text in ["", "h:80", "ftp://h", "http://", "http://h/path", "http://h?q", "http://h#f"]
        {
            let error = parse_endpoint("extfs.iam_endpoint", text).unwrap_err();
            assert!(error.message().contains("extfs.iam_endpoint"), "{error}");
        }
        let error = parse_endpoint("k", "http://u:CANARY@h").unwrap_err();
        assert!(!format!("{error:?}").contains("CANARY"));
    }

    #[test]
    fn a_region_is_one_label() {
        assert!(is_region_label("eu-west-1"));
        for region in ["", "a.b", "a/b", "evil.example#", "EU"] {
            assert!(!is_region_label(region), "{region}");
        }
    }
}
