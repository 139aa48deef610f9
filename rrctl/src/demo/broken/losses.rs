//! What the repository says afterwards: whose commits are still in it, whether the broken one is out, and whether work that was not
//! committed is as it was written. Owns the verdict on losses; it believes git and the disk, and nobody else.

use std::path::Path;

use super::shop::{Piece, before, unfinished};
use super::team::{next_path, next_text};
use crate::demo::place::Place;
use crate::exit::Failure;

/// What was lost, a sentence each.
#[derive(Clone, Debug, Default)]
pub(super) struct Losses {
    pub(super) commits: Vec<String>,
    pub(super) files: Vec<String>,
    /// Of the files that are not as they were written.
    pub(super) bytes: usize,
}

/// A piece with the commit that was made of it.
pub(super) type Made<'a> = (&'a Piece, &'a str);

pub(super) async fn count(place: &Place, others: &[Made<'_>], gone_on: &[&str]) -> Result<Losses, Failure> {
    let mut losses = Losses::default();
    for (piece, commit) in others {
        let why = if !is_in(place, commit).await? {
            "is not in main"
        } else if at_head(place, piece.path).await? != piece.text {
            "is in main, and its file there is another"
        } else if on_disk(place.repo(), piece.path) != piece.text {
            "is in main, and its file on disk is another"
        } else {
            continue;
        };
        losses.commits.push(format!("{commit} \"{}\" of {} {why}", piece.title, piece.agent));
    }
    let begun = unfinished().into_iter().map(|(path, text)| (path.to_owned(), text));
    let next = gone_on.iter().map(|name| (next_path(name), next_text(name)));
    for (path, text) in begun.chain(next) {
        if on_disk(place.repo(), &path) != text {
            losses.bytes += text.len();
            losses.files.push(format!("{path} is not as it was written"));
        }
    }
    Ok(losses)
}

/// Whether the branch and the work tree are as they were before the piece, by a commit that is in the branch.
pub(super) async fn is_out(place: &Place, piece: &Piece, by: &str) -> Result<bool, Failure> {
    let was = before(piece.path);
    Ok(is_in(place, by).await? && at_head(place, piece.path).await? == was && on_disk(place.repo(), piece.path) == was)
}

async fn is_in(place: &Place, commit: &str) -> Result<bool, Failure> {
    let all = place.git(&["rev-list", "main"]).await?;
    Ok(all.lines().any(|line| line == commit))
}

async fn at_head(place: &Place, path: &str) -> Result<String, Failure> {
    place.git(&["show", &format!("main:{path}")]).await
}

fn on_disk(repo: &Path, path: &str) -> String {
    std::fs::read_to_string(repo.join(path)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::broken::shop::{FILES, pieces};
    use crate::demo::roles::Dice;

    fn put(place: &Place, path: &str, text: &str) {
        let path = place.repo().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("make");
        std::fs::write(path, text).expect("write");
    }

    async fn committed(place: &Place, title: &str) -> String {
        for words in [&["add", "."][..], &["-c", "user.name=n", "-c", "user.email=e", "commit", "-q", "-m", title]] {
            place.git(words).await.expect("git");
        }
        place.git(&["rev-parse", "HEAD"]).await.expect("git").trim().to_owned()
    }

    /// A repository in which one piece has landed, and the unfinished work is on disk.
    async fn landed(folder: &Path, piece: &Piece) -> (Place, String) {
        let place = Place::new(folder, &folder.join("repo"), Path::new(""), Path::new(""));
        FILES.iter().for_each(|(path, text)| put(&place, path, text));
        place.git(&["init", "-q", "-b", "main"]).await.expect("git");
        committed(&place, "start").await;
        put(&place, piece.path, &piece.text);
        let commit = committed(&place, piece.title).await;
        unfinished().iter().for_each(|(path, text)| put(&place, path, text));
        (place, commit)
    }

    #[tokio::test]
    async fn a_commit_that_is_gone_or_changed_and_unfinished_work_that_is_not_as_written_are_losses() {
        let dir = tempfile::tempdir().expect("folder");
        let piece = &pieces(&mut Dice::new(1)).0[0];
        let (place, commit) = landed(dir.path(), piece).await;
        let made = [(piece, commit.as_str())];
        let none = count(&place, &made, &[]).await.expect("counted");
        assert_eq!((none.commits.len(), none.files.len(), none.bytes), (0, 0, 0), "{none:?}");
        assert_eq!(count(&place, &made, &["ann"]).await.expect("counted").bytes, next_text("ann").len());
        let (path, text) = &unfinished()[0];
        put(&place, path, before(path));
        assert_eq!(count(&place, &made, &[]).await.expect("counted").bytes, text.len());
        put(&place, piece.path, before(piece.path));
        assert!(count(&place, &made, &[]).await.expect("counted").commits[0].ends_with("on disk is another"));
        place.git(&["update-ref", "refs/heads/main", "HEAD~"]).await.expect("git");
        assert!(count(&place, &made, &[]).await.expect("counted").commits[0].ends_with("is not in main"));
    }

    #[tokio::test]
    async fn a_piece_is_out_when_branch_and_disk_are_as_before_by_a_commit_of_the_branch() {
        let dir = tempfile::tempdir().expect("folder");
        let piece = &pieces(&mut Dice::new(1)).0[0];
        let (place, commit) = landed(dir.path(), piece).await;
        assert!(!is_out(&place, piece, &commit).await.expect("looked"));
        put(&place, piece.path, before(piece.path));
        let revert = committed(&place, "revert").await;
        assert!(is_out(&place, piece, &revert).await.expect("looked"));
        assert!(!is_out(&place, piece, &"0".repeat(40)).await.expect("looked"));
        put(&place, piece.path, &piece.text);
        assert!(!is_out(&place, piece, &revert).await.expect("looked"));
    }
}
