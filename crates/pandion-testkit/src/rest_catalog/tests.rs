use axum::http::Request;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use serde_json::{Value, json};

use super::*;

async fn start(options: RestCatalogOptions) -> RestCatalogServer {
    let store = InMemory::new();
    let metadata = json!({"location": "s3://lake/t", "format-version": 2}).to_string();
    store.put(&Path::from("t/m.json"), metadata.into()).await.unwrap();
    let server = RestCatalogServer::start(options, Arc::new(store)).await.unwrap();
    server.register(&["a", "b"], "t", "s3://lake/t/m.json");
    server
}

async fn ask(server: &RestCatalogServer, path: &str, bearer: &str) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = client.get(format!("{}{path}", server.uri()));
    if !bearer.is_empty() {
        request = request.bearer_auth(bearer);
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
}

#[tokio::test]
async fn tables_are_served_below_the_prefix_alone() {
    let prefix = Some("p/q".to_owned());
    let server = start(RestCatalogOptions { prefix, ..RestCatalogOptions::default() }).await;
    let (status, config) = ask(&server, "/v1/config", "").await;
    assert_eq!((status, &config["overrides"]["prefix"]), (200, &json!("p/q")));
    let (status, table) = ask(&server, "/v1/p/q/namespaces/a%1Fb/tables/t", "").await;
    assert_eq!((status, &table["metadata"]["location"]), (200, &json!("s3://lake/t")));
    for (path, class) in [
        ("/v1/namespaces/a%1Fb/tables/t", "NotFoundException"),
        ("/v1/p/q/namespaces/a%1Fb/tables/u", "NoSuchTableException"),
        ("/v1/p/q/namespaces/a/tables/t", "NoSuchNamespaceException"),
        ("/v1/p/q/namespaces/a%1Fb/tables/t/credentials", "NotFoundException"),
    ] {
        let (status, error) = ask(&server, path, "").await;
        assert_eq!((status, &error["error"]["type"]), (404, &json!(class)), "{path}");
    }
    let stats = server.reset_stats();
    assert_eq!((stats.config, stats.table, stats.credentials, stats.other), (1, 3, 1, 1));
    assert_eq!(server.stats(), RestCatalogStats::default());
}

#[tokio::test]
async fn faults_meet_as_many_requests_as_they_should() {
    let server = start(RestCatalogOptions {
        auth: CatalogAuth::Bearer("secret".to_owned()),
        ..RestCatalogOptions::default()
    })
    .await;
    let failure = CatalogFailure::Status(503, "busy".to_owned());
    server.set_faults(vec![CatalogFault { path: "/config".to_owned(), times: 2, failure }]);
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(ask(&server, "/v1/config", "secret").await.0);
    }
    assert_eq!(statuses, [503, 503, 200]);
    assert_eq!(ask(&server, "/v1/config", "other").await.0, 401);
    assert_eq!(ask(&server, "/v1/config", "").await.0, 401);
    assert_eq!(server.stats().unauthorized, 2);
}

/// The example of AWS's own description of the signature: a request for `ListUsers`.
#[test]
fn a_signature_that_aws_made_is_accepted_and_no_other() {
    let request = |query: &str, host: &str| {
        let signature = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
        let request = Request::get(format!("/?{query}"))
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
            .header("host", host)
            .header("x-amz-date", "20150830T123600Z")
            .header(
                "authorization",
                format!(
                    "AWS4-HMAC-SHA256 \
                     Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
                     SignedHeaders=content-type;host;x-amz-date, Signature={signature}"
                ),
            );
        request.body(()).unwrap().into_parts().0
    };
    let check = |region: &str, at: u64, query: &str, host: &str| {
        let scope = sigv4::Scope {
            access_key: "AKIDEXAMPLE",
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            region,
            service: "iam",
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
        sigv4::check(&scope, now, &request(query, host), b"").map_err(|refusal| refusal.message)
    };
    let query = "Action=ListUsers&Version=2010-05-08";
    let at = 1_440_938_160;
    assert_eq!(check("us-east-1", at, query, "iam.amazonaws.com"), Ok(()));
    for refused in [
        check("us-east-2", at, query, "iam.amazonaws.com"),
        check("us-east-1", at + 1000, query, "iam.amazonaws.com"),
        check("us-east-1", at, "Action=ListRoles&Version=2010-05-08", "iam.amazonaws.com"),
        check("us-east-1", at, query, "evil.example"),
    ] {
        assert!(refused.is_err());
    }
}
