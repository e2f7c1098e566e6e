//! The suite that every [`Metastore`] passes. It asserts, and is meant to be called from a test.

use std::sync::Arc;

use futures::future::join_all;
use pandion_types::{Error, ErrorKind, Result};
use serde_json::json;

use crate::{
    Catalog, CatalogOptions, Change, Checkpoint, Commit, CommitError, History, Metastore, News,
    Transaction, Version,
};

/// Two handles to one new and empty metastore, as two processes would have them.
pub type Handles = (Arc<dyn Metastore>, Arc<dyn Metastore>);

/// Runs the whole suite; each part asks for handles of its own.
///
/// # Errors
/// What the metastore fails with although nothing is wrong.
///
/// # Panics
/// When the metastore does not do what it should.
pub async fn run(fresh: impl AsyncFn() -> Result<Handles>) -> Result<()> {
    begins_empty(fresh().await?).await?;
    reads_what_was_committed(fresh().await?).await?;
    refuses_stale_commits(fresh().await?).await?;
    lets_one_of_many_win(fresh().await?).await?;
    begins_at_a_checkpoint(fresh().await?).await?;
    leaves_nobody_behind_unawares(fresh().await?).await?;
    fences_the_old_holder_of_the_lease(fresh().await?).await
}

async fn begins_empty((one, other): Handles) -> Result<()> {
    for metastore in [one, other] {
        let History { checkpoint, commits } = metastore.load().await?;
        assert_eq!(checkpoint, Checkpoint::default());
        assert_eq!(commits, []);
        assert_eq!(commits_after(metastore.as_ref(), Version::EMPTY).await?, []);
    }
    Ok(())
}

async fn reads_what_was_committed((one, other): Handles) -> Result<()> {
    let mut committed = Vec::new();
    for number in 0..40_u64 {
        // Either handle may write: nothing is remembered in one of them.
        let writer = if number % 2 == 0 { &one } else { &other };
        committed.push(append(writer.as_ref(), Version(number), "größe \" /\n").await?);
    }
    for metastore in [&one, &other] {
        assert_eq!(metastore.load().await?.commits, committed);
        for after in [0, 1, 39, 40] {
            let news = commits_after(metastore.as_ref(), Version(after)).await?;
            assert!(news.iter().eq(committed.iter().filter(|it| it.version.0 > after)));
        }
    }
    Ok(())
}

async fn refuses_stale_commits((one, other): Handles) -> Result<()> {
    let first = append(one.as_ref(), Version::EMPTY, "first").await?;
    let second = append(one.as_ref(), Version(1), "second").await?;
    for stale in [Version::EMPTY, Version(1)] {
        let refused = other.commit(stale, &transaction("stale")).await;
        assert!(matches!(refused, Err(CommitError::Conflict)), "{refused:?}");
    }
    assert_eq!(other.load().await?.commits, [first, second]);
    Ok(())
}

async fn lets_one_of_many_win((one, other): Handles) -> Result<()> {
    for round in 0..4 {
        let entrants: Vec<_> =
            (0..8).map(|number| transaction(&format!("{round}/{number}"))).collect();
        let race = entrants.iter().enumerate().map(|(number, entrant)| {
            let metastore = if number % 2 == 0 { &one } else { &other };
            metastore.commit(Version(round), entrant)
        });
        let outcomes = join_all(race).await;
        let mut winner = None;
        for (entrant, outcome) in entrants.into_iter().zip(outcomes) {
            match outcome {
                Ok(version) => {
                    assert_eq!(version, Version(round + 1));
                    assert_eq!(winner.replace(entrant), None, "two winners");
                }
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        let in_log = commits_after(one.as_ref(), Version(round)).await?;
        let in_log: Vec<_> = in_log.into_iter().map(|commit| Some(commit.transaction)).collect();
        assert_eq!(in_log, [winner]);
    }
    Ok(())
}

async fn begins_at_a_checkpoint((one, other): Handles) -> Result<()> {
    append(one.as_ref(), Version(0), "a").await?;
    append(one.as_ref(), Version(1), "b").await?;
    let kept = checkpoint(2);
    one.checkpoint(&kept).await?;
    // Another process may have the same idea.
    other.checkpoint(&kept).await?;
    let third = append(one.as_ref(), Version(2), "c").await?;
    let History { checkpoint, commits } = other.load().await?;
    assert_eq!(checkpoint, kept);
    assert_eq!(commits, [third]);
    Ok(())
}

/// However much a metastore forgets, a process that slept is told so, and never commits into the
/// past.
async fn leaves_nobody_behind_unawares((one, sleeper): Handles) -> Result<()> {
    for number in 0..12 {
        append(one.as_ref(), Version(number), "x").await?;
        if number % 3 == 2 {
            one.checkpoint(&checkpoint(number + 1)).await?;
        }
    }
    let newest = one.load().await?;
    for slept_at in 0..12 {
        let outcome = sleeper.commit(Version(slept_at), &transaction("late")).await;
        assert!(!matches!(outcome, Ok(_) | Err(CommitError::Failed(_))), "{slept_at}: {outcome:?}");
        match sleeper.news(Version(slept_at)).await? {
            News::Behind => {}
            News::Commits(commits) => {
                let versions: Vec<_> = commits.iter().map(|commit| commit.version.0).collect();
                assert_eq!(versions, (slept_at + 1..=12).collect::<Vec<_>>());
            }
        }
    }
    let History { checkpoint, commits } = sleeper.load().await?;
    assert_eq!((checkpoint, commits), (newest.checkpoint, newest.commits));
    assert_eq!(commits_after(sleeper.as_ref(), Version(12)).await?, []);
    Ok(())
}

async fn fences_the_old_holder_of_the_lease((one, other): Handles) -> Result<()> {
    let options = |owner: &str| CatalogOptions { owner: owner.to_owned(), checkpoint_every: 0 };
    let old = Catalog::open(one, options("old")).await?;
    old.create_database("by_old", [].into(), 1).await?;
    let new = Catalog::open(other, options("new")).await?;
    for _ in 0..2 {
        let refused = old.create_database("late", [].into(), 2).await;
        let Err(error) = refused else { return Err(Error::internal("the old holder writes on")) };
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.message().contains("fenced: new has taken over"), "{error}");
    }
    new.create_database("by_new", [].into(), 3).await?;
    old.sync().await?;
    for catalog in [old, new] {
        let state = catalog.state();
        let names: Vec<_> = state.databases().map(|database| database.name.as_str()).collect();
        assert_eq!(names, ["default", "by_old", "by_new"]);
        assert_eq!((state.lease().epoch, state.lease().owner.as_str()), (2, "new"));
    }
    Ok(())
}

async fn append(metastore: &dyn Metastore, at: Version, text: &str) -> Result<Commit> {
    let transaction = transaction(text);
    let version = metastore.commit(at, &transaction).await.map_err(failed)?;
    assert_eq!(version, at.next());
    Ok(Commit { version, transaction })
}

async fn commits_after(metastore: &dyn Metastore, version: Version) -> Result<Vec<Commit>> {
    match metastore.news(version).await? {
        News::Commits(commits) => Ok(commits),
        News::Behind => Err(Error::internal(format!("behind at version {version}"))),
    }
}

fn transaction(text: &str) -> Transaction {
    let id = uuid::Uuid::new_v4().to_string();
    let put = Change::Put { key: format!("a/{text}"), value: json!({ "text": text, "n": 1.5 }) };
    let delete = Change::Delete { key: "b".to_owned() };
    Transaction { id, epoch: 3, changes: vec![put, delete] }
}

fn checkpoint(version: u64) -> Checkpoint {
    let entries = [("a/b".to_owned(), json!([version, null, "text"]))].into();
    Checkpoint { version: Version(version), entries }
}

fn failed(error: CommitError) -> Error {
    match error {
        CommitError::Conflict => Error::conflict("a commit met a conflict"),
        CommitError::Failed(error) | CommitError::Unknown(error) => error,
    }
}
