//! The contents of objects, from wherever the mirror has them: one git process answers all questions, and a new one is started when
//! it does not any more. It knows no paths.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use rr_core::id::ObjectId;

use super::{Mirror, MirrorError, disk_error, locked};
use crate::command::{GitError, Input, prepared};

/// Ends with the mirror: its input is closed then.
#[derive(Debug)]
pub(super) struct Reader {
    child: Child,
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.ask = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Reader {
    fn start(dir: &Path) -> Result<Self, GitError> {
        let mut command =
            prepared(dir, ["cat-file", "--batch-command"], &Input { stdin: Some(b""), ..Input::default() });
        command.env("GIT_NO_LAZY_FETCH", "1").stderr(Stdio::null());
        let mut child = command.spawn().map_err(GitError::NotStarted)?;
        let gone = || GitError::NotStarted(io::Error::other("it has no pipes"));
        let ask = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().ok_or_else(gone)?);
        Ok(Self { child, ask, answers })
    }

    /// The size of an object that is here.
    fn ask(&mut self, verb: &str, name: &str) -> io::Result<Option<u64>> {
        let pipe = self.ask.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        pipe.write_all(format!("{verb} {name}\n").as_bytes())?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let mut words = line.split_ascii_whitespace().skip(1);
        match (words.next(), words.next()) {
            (Some("missing"), None) => Ok(None),
            (Some(_), Some(size)) => size.parse().map(Some).map_err(io::Error::other),
            _ => Err(io::Error::other(format!("no answer: {line:?}"))),
        }
    }

    fn contents(&mut self, name: &str, max: usize) -> io::Result<Option<Vec<u8>>> {
        let Some(size) = self.ask("contents", name)? else { return Ok(None) };
        let wanted = size.min(max as u64);
        let mut bytes = Vec::new();
        self.answers.by_ref().take(wanted).read_to_end(&mut bytes)?;
        // A line end follows.
        let rest = size - wanted + 1;
        if io::copy(&mut self.answers.by_ref().take(rest), &mut io::sink())? != rest {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some(bytes))
    }
}

impl Mirror {
    /// The bytes of an object, at most `max` of them. None: it is not here.
    ///
    /// # Errors
    /// If git cannot be asked, or the object is damaged.
    pub fn bytes(&self, id: &ObjectId, max: usize) -> Result<Option<Vec<u8>>, MirrorError> {
        self.read_object(id.as_str(), max)
    }

    /// `name` is a whole object name.
    pub(super) fn read_object(&self, name: &str, max: usize) -> Result<Option<Vec<u8>>, MirrorError> {
        self.asked(&mut |reader| reader.contents(name, max))
    }

    pub(super) fn has(&self, name: &str) -> Result<bool, MirrorError> {
        Ok(self.size_of(name)?.is_some())
    }

    pub(super) fn size_of(&self, name: &str) -> Result<Option<u64>, MirrorError> {
        self.asked(&mut |reader| reader.ask("info", name))
    }

    /// Twice: the process may have ended since it was last asked.
    fn asked<T>(&self, question: &mut dyn FnMut(&mut Reader) -> io::Result<T>) -> Result<T, MirrorError> {
        let mut kept = locked(&self.shared.reader);
        if let Some(Ok(answer)) = kept.as_mut().map(&mut *question) {
            return Ok(answer);
        }
        *kept = None;
        let mut reader = Reader::start(&self.dir)?;
        let answer = question(&mut reader).map_err(disk_error("read an object in", &self.dir))?;
        *kept = Some(reader);
        Ok(answer)
    }
}
