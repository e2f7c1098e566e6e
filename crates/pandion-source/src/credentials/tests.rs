use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::Clock;

/// A clock that stands until it is moved.
#[derive(Debug)]
struct Hand(Mutex<SystemTime>);

impl Hand {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000))))
    }

    fn advance(&self, seconds: u64) {
        *self.0.lock().unwrap() += Duration::from_secs(seconds);
    }
}

impl Clock for Hand {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}

/// Issues numbered keys for `life` seconds, or fails.
#[derive(Debug)]
struct Issuer {
    clock: Arc<Hand>,
    life: u64,
    asked: AtomicU64,
    failure: Mutex<Option<ErrorKind>>,
    /// Whether it always gives the same keys.
    is_stuck: bool,
}

impl Issuer {
    fn new(clock: &Arc<Hand>, life: u64) -> Arc<Self> {
        Arc::new(Self {
            clock: Arc::clone(clock),
            life,
            asked: AtomicU64::new(0),
            failure: Mutex::new(None),
            is_stuck: false,
        })
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    fn fail(&self, kind: Option<ErrorKind>) {
        *self.failure.lock().unwrap() = kind;
    }
}

#[async_trait]
impl CredentialSource for Issuer {
    async fn credentials(&self) -> Result<Arc<AwsCredentials>> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        // Lets everybody else run, so that whoever may overtake does.
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        if let Some(kind) = *self.failure.lock().unwrap() {
            return Err(Error::new(kind, format!("issuer is down ({number})")));
        }
        let number = if self.is_stuck { 0 } else { number };
        Ok(Arc::new(AwsCredentials {
            key_id: Secret::new(format!("KEY{number}")),
            secret: Secret::new("CANARY"),
            token: Some(Secret::new(format!("CANARY{number}"))),
            expires_at: Some(self.clock.now() + Duration::from_secs(self.life)),
        }))
    }

    async fn renew(&self, _rejected: &AwsCredentials) -> Result<Arc<AwsCredentials>> {
        self.credentials().await
    }
}

fn renewing(issuer: &Arc<Issuer>, age_max: u64) -> RenewingCredentials {
    let source: Arc<dyn CredentialSource> = Arc::<Issuer>::clone(issuer);
    let clock: Arc<dyn Clock> = Arc::<Hand>::clone(&issuer.clock);
    let limits = RenewalLimits { age_max: Duration::from_secs(age_max) };
    RenewingCredentials::new(source, clock, limits)
}

async fn key(source: &RenewingCredentials) -> String {
    source.credentials().await.unwrap().key_id.expose().to_owned()
}

/// Lets a renewal in the background come to its end.
async fn settle() {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn keys_are_held_and_renewed_before_their_end() {
    let clock = Hand::new();
    let issuer = Issuer::new(&clock, 900);
    let source = renewing(&issuer, 10_000);
    for _ in 0..5 {
        assert_eq!(key(&source).await, "KEY1");
    }
    clock.advance(599);
    assert_eq!((key(&source).await.as_str(), issuer.asked()), ("KEY1", 1));
    // The last third has begun: whoever comes gets the old keys, and new ones are on their way.
    clock.advance(1);
    assert_eq!(key(&source).await, "KEY1");
    settle().await;
    assert_eq!((key(&source).await.as_str(), issuer.asked()), ("KEY2", 2));
}

#[tokio::test]
async fn keys_are_renewed_at_an_age_however_long_they_last() {
    let clock = Hand::new();
    let issuer = Issuer::new(&clock, 40_000);
    let source = renewing(&issuer, 1_000);
    key(&source).await;
    clock.advance(1_000);
    key(&source).await;
    settle().await;
    assert_eq!(key(&source).await, "KEY2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_renewal_serves_all_who_wait() {
    let clock = Hand::new();
    let issuer = Issuer::new(&clock, 900);
    let source = renewing(&issuer, 900);
    for round in 1..=3 {
        let readers = (0..64).map(|_| {
            let source = source.clone();
            tokio::spawn(async move { key(&source).await })
        });
        for reader in futures::future::join_all(readers).await {
            assert_eq!(reader.unwrap(), format!("KEY{round}"));
        }
        assert_eq!(issuer.asked(), round);
        clock.advance(901);
    }
}

#[tokio::test]
async fn a_failure_is_shared_by_all_who_wait() {
    let clock = Hand::new();
    let issuer = Issuer::new(&clock, 900);
    issuer.fail(Some(ErrorKind::PermissionDenied));
    let source = renewing(&issuer, 900);
    let answers = futures::future::join_all((0..64).map(|_| source.credentials())).await;
    for answer in answers {
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert_eq!(error.message(), "issuer is down (1)");
    }
    assert_eq!(issuer.asked(), 1);
    // The next reader tries anew.
    issuer.fail(None);
    assert_eq!(key(&source).await, "KEY2");
}

#[tokio::test]
async fn valid_keys_serve_on_while_renewals_fail() {
    let clock = Hand::new();
    let issuer = Issuer::new(&clock, 900);
    let source = renewing(&issuer, 900);
    key(&source).await;
    issuer.fail(Some(ErrorKind::Unavailable));
    clock.advance(700);
    for _ in 0..10 {
        assert_eq!(key(&source).await, "KEY1");
        settle().await;
    }
    assert_eq!(issuer.asked(), 2, "a failed renewal is not repeated at once");
    clock.advance(10);
    assert_eq!(key(&source).await, "KEY1");
    settle().await;
    assert_eq!(issuer.asked(), 3);
    // After their end there is nothing to serve on with.
    clock.advance(190);
    let error = source.credentials().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    issuer.fail(None);
    assert_eq!(key(&source).await, "KEY5");
}

#[tokio::test]
async fn rejected_keys_are_renewed_once() {
    let clock = Hand::new();
    let issuer = Issuer::new(&clock, 900);
    let source = renewing(&issuer, 900);
    let first = source.credentials().await.unwrap();
    let renewed = futures::future::join_all((0..64).map(|_| source.renew(&first))).await;
    for keys in renewed {
        assert_eq!(keys.unwrap().key_id.expose(), "KEY2");
    }
    assert_eq!(issuer.asked(), 2);
    // A store that refuses whatever it is given does not make us ask on and on.
    let second = source.credentials().await.unwrap();
    let error = source.renew(&second).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.message().contains("clock"), "{error}");
    assert_eq!((key(&source).await.as_str(), issuer.asked()), ("KEY2", 2));
    clock.advance(5);
    assert_eq!(source.renew(&second).await.unwrap().key_id.expose(), "KEY3");
}

#[tokio::test]
async fn keys_that_a_store_rejects_are_kept_until_there_are_others() {
    let clock = Hand::new();
    let issuer = Issuer::new(&clock, 900);
    let source = renewing(&issuer, 900);
    let first = source.credentials().await.unwrap();
    issuer.fail(Some(ErrorKind::Unavailable));
    for _ in 0..5 {
        let error = source.renew(&first).await.unwrap_err();
        assert!(error.message().contains("issuer is down (2)"), "{error}");
    }
    assert_eq!(key(&source).await, "KEY1");
    issuer.fail(None);
    clock.advance(5);
    assert_eq!(source.renew(&first).await.unwrap().key_id.expose(), "KEY3");
}

#[tokio::test]
async fn an_issuer_that_repeats_itself_is_no_renewal() {
    let clock = Hand::new();
    let issuer = Issuer { is_stuck: true, ..Arc::into_inner(Issuer::new(&clock, 900)).unwrap() };
    let source = renewing(&Arc::new(issuer), 900);
    let first = source.credentials().await.unwrap();
    let error = source.renew(&first).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.message().contains("has no other keys"), "{error}");
}

#[tokio::test]
async fn keys_that_are_over_when_they_come_tell_of_a_wrong_clock() {
    let clock = Hand::new();
    let issuer = Issuer::new(&clock, 0);
    let error = renewing(&issuer, 900).credentials().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("clock"), "{error}");
}

#[tokio::test]
async fn static_keys_have_no_others() {
    let keys = AwsCredentials::lasting(Secret::new("KEYCANARY"), Secret::new("CANARY"));
    let source = StaticCredentials::new(keys);
    let keys = source.credentials().await.unwrap();
    let error = source.renew(&keys).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let shown = format!("{source:?} {keys:?} {error:?}");
    assert!(!shown.contains("CANARY"), "{shown}");
}

#[test]
fn keys_must_be_fit_for_a_header() {
    let keys = |key: &str, token: &str| AwsCredentials {
        key_id: Secret::new(key),
        secret: Secret::new("any thing"),
        token: Some(Secret::new(token)),
        expires_at: None,
    };
    keys("AK", "TOKEN+/=").check().unwrap();
    for (key, token) in [("A K", "t"), ("CANARY\n", "t"), ("k", "CANARY\r\nx: y"), ("k", "")] {
        let error = keys(key, token).check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(!format!("{error:?}").contains("CANARY"));
    }
}
