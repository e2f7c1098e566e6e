//! Ties an index to a field, so that it is silent on others.

use std::sync::Arc;

use pandion_filter::Predicate;
use pandion_types::{FieldId, Result};

use super::{Estimate, Lookup, ScalarIndex, ScalarIndexSpec};

/// The same index, which answers terms on `field` only. An index knows the type of its values and
/// the path, but not which field they are of: whoever asks about a filter on several fields asks
/// such ones.
#[must_use]
pub fn on_field(field: FieldId, index: Arc<dyn ScalarIndex>) -> Arc<dyn ScalarIndex> {
    Arc::new(OnField { field, index })
}

#[derive(Debug)]
struct OnField {
    field: FieldId,
    index: Arc<dyn ScalarIndex>,
}

impl OnField {
    fn is_own(&self, term: &Predicate) -> bool {
        let (mut fields, mut others) = (0, 0);
        term.visit_fields(&mut |field| {
            fields += 1;
            others += usize::from(field.id != self.field);
        });
        fields > 0 && others == 0
    }
}

impl ScalarIndex for OnField {
    fn spec(&self) -> &ScalarIndexSpec {
        self.index.spec()
    }

    fn rows(&self) -> usize {
        self.index.rows()
    }

    fn memory_bytes(&self) -> usize {
        self.index.memory_bytes()
    }

    fn estimate(&self, term: &Predicate) -> Option<Estimate> {
        if self.is_own(term) { self.index.estimate(term) } else { None }
    }

    fn lookup(&self, term: &Predicate) -> Result<Option<Lookup>> {
        if self.is_own(term) { self.index.lookup(term) } else { Ok(None) }
    }
}
