//! What the overlap index asks of git, answered: a merge of one path or of whole trees, on the base the question names. What an
//! answer means is the index's business.

use rr_core::id::ObjectId;
use rr_core::overlap::{Base, Question};

use super::{Merged, Mirror, MirrorError};

impl Mirror {
    /// Merges what a question names; for a check, the tree that is to be checked. `attributes`: the tree whose `.gitattributes`
    /// hold for a single path. Whole trees bring their own.
    ///
    /// # Errors
    /// If git fails.
    pub fn answer(&self, question: &Question, attributes: Option<&ObjectId>) -> Result<Merged, MirrorError> {
        match question {
            Question::Files { path, base, ours, theirs, .. } => {
                self.merge_files_by(attributes, base.as_ref(), ours.as_ref(), theirs.as_ref(), path)
            }
            Question::Trees { base, ours, theirs, .. } | Question::Check { base, ours, theirs, .. } => {
                let base = match base {
                    Base::Target(commit) => self.prefix(commit)?,
                    Base::Fork(a, b) => self.fork(a, b)?,
                    Base::Nothing => self.nothing()?,
                };
                self.merge_trees(&base, ours, theirs)
            }
        }
    }
}
