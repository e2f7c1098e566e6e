//! Random histories of a table against what its writer knows.

use iceberg::spec::{FormatVersion, Transform};
use pandion_testkit::iceberg::{
    Change, DeleteLayout, EqualityDelete, Place, SampleOptions, TableOptions, sample_batch,
    sample_schema as writer_schema,
};
use proptest::prelude::*;

use super::*;

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    Append {
        files: usize,
        rows: usize,
    },
    Positions {
        every: u64,
        shift: u64,
        per_file: bool,
    },
    /// By id, or by kind where it is not; what is given is the first row of a few.
    Equality {
        first: i64,
        rows: usize,
        by_kind: bool,
    },
    DeleteFile(usize),
    Compact(usize),
    /// Nothing is refreshed after this step.
    Skip,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..4_usize, 1..12_usize).prop_map(|(files, rows)| Step::Append { files, rows }),
        3 => (1..6_u64, 0..6_u64, any::<bool>())
            .prop_map(|(every, shift, per_file)| Step::Positions { every, shift, per_file }),
        3 => (0..60_i64, 1..6_usize, any::<bool>())
            .prop_map(|(first, rows, by_kind)| Step::Equality { first, rows, by_kind }),
        1 => any::<usize>().prop_map(Step::DeleteFile),
        1 => any::<usize>().prop_map(Step::Compact),
        1 => Just(Step::Skip),
    ]
}

async fn apply(table: &mut TableWriter, step: &Step, next_id: &mut i64, partitioned: bool) {
    let options = SampleOptions::default();
    let files = table.head().map(|head| table.data_files(head).unwrap()).unwrap_or_default();
    match step {
        Step::Append { files, rows } => {
            let mut batches = Vec::new();
            for _ in 0..*files {
                batches.push(sample_batch(*next_id, *rows, &options).unwrap());
                *next_id += i64::try_from(*rows).unwrap();
            }
            table.append(&batches).await.unwrap();
        }
        Step::Positions { every, shift, per_file } => {
            let layout = if *per_file { DeleteLayout::PerFile } else { DeleteLayout::Shared };
            let wanted = |row: &Row| (row.position + shift).is_multiple_of(*every);
            let positions = table.positions_where(wanted).unwrap();
            if !positions.is_empty() {
                table.delete_positions(&positions, layout).await.unwrap();
            }
        }
        Step::Equality { first, rows, by_kind } => {
            let rows = sample_batch(*first, *rows, &options).unwrap();
            let column = if *by_kind { "kind" } else { "id" };
            let columns = vec![column.to_owned()];
            // Half of the deletes by id hold in all partitions.
            let in_all_partitions = partitioned && !*by_kind && first % 2 == 0;
            let delete = EqualityDelete { columns, rows, in_all_partitions };
            table.commit(Change { equality: vec![delete], ..Change::default() }).await.unwrap();
        }
        Step::DeleteFile(at) if !files.is_empty() => {
            table.delete_files(&[files[at % files.len()].clone()]).await.unwrap();
        }
        Step::Compact(at) if !files.is_empty() => {
            let first = at % files.len();
            let some = files[first..(first + 2).min(files.len())].to_vec();
            table.compact(&some).await.unwrap();
        }
        Step::DeleteFile(_) | Step::Compact(_) | Step::Skip => {}
    }
}

async fn history(version: FormatVersion, partitioned: bool, steps: Vec<Step>) {
    let partitions: &[(&str, Transform)] =
        if partitioned { &[("kind", Transform::Identity)] } else { &[] };
    let schema = writer_schema(8, Default::default()).unwrap();
    let place = Place::in_memory().unwrap();
    let options = TableOptions::version(version);
    let mut table = TableWriter::create(place, schema, partitions, options).await.unwrap();
    let connector = connector_to(&table, SnapshotChoice::Latest, &sample_schema());
    let mut before: Option<Manifest> = None;
    let mut next_id = 0;
    for step in &steps {
        apply(&mut table, step, &mut next_id, partitioned).await;
        if matches!(step, Step::Skip) {
            continue;
        }
        let (manifest, _) = refresh(&connector, before.as_ref()).await.unwrap();
        let expected = expected_rows(&table.rows().unwrap());
        assert_eq!(live_rows(&manifest), expected, "after {step:?} of {steps:?}");
        before = Some(manifest);
    }
    if let (Some(before), Some(oldest)) = (&before, table.snapshots().first()) {
        let stats = IoStats::default();
        let choice = SnapshotChoice::Id(*oldest);
        let state = connector.resolve_at(&choice, before, &stats).await.unwrap();
        let (then, _) = complete(&connector, state, Some(before), stats).await.unwrap();
        assert_eq!(live_rows(&then), expected_rows(&table.rows_of(*oldest).unwrap()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn deletes_are_those_of_the_writer(
        steps in proptest::collection::vec(step(), 1..10),
        third in any::<bool>(),
        partitioned in any::<bool>(),
    ) {
        let version = if third { FormatVersion::V3 } else { FormatVersion::V2 };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(history(version, partitioned, steps));
    }
}
