//! The tools of an agent, doing to the disk what the real ones do: a write truncates and writes, an edit replaces one text,
//! a shell command runs in a group of its own. No question is asked here: that was done before. Next: `agent`.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// Why a tool did not do its work; the text is what the model would read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ToolError {
    #[error("{tool} needs {field}")]
    Missing { tool: String, field: &'static str },
    #[error("{what} {}: {why}", path.display())]
    File { what: &'static str, path: PathBuf, why: String },
    #[error("the text to replace is {times} times in {}, not once", path.display())]
    NoSuchText { path: PathBuf, times: usize },
    #[error("Exit code {code}\n{output}")]
    Shell { code: i32, output: String },
    #[error("start a shell: {0}")]
    NoShell(String),
    #[error("no such tool here: {0}")]
    Unknown(String),
}

/// Does what a call asks for. What the model reads of it is returned.
pub(crate) fn act(tool: &str, input: &Value, project: &Path, session: &str) -> Result<String, ToolError> {
    let field = |field: &'static str| {
        let missing = || ToolError::Missing { tool: tool.to_owned(), field };
        input[field].as_str().ok_or_else(missing)
    };
    match tool {
        "Read" => read(&project.join(field("file_path")?)),
        "Write" => write(&project.join(field("file_path")?), field("content")?),
        "Edit" => {
            let all = input["replace_all"].as_bool().unwrap_or(false);
            edit(&project.join(field("file_path")?), field("old_string")?, field("new_string")?, all)
        }
        "Bash" => shell(field("command")?, project, session),
        other => Err(ToolError::Unknown(other.to_owned())),
    }
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl Fn(std::io::Error) -> ToolError + 'a {
    move |error| ToolError::File { what, path: path.to_owned(), why: error.to_string() }
}

fn read(path: &Path) -> Result<String, ToolError> {
    fs::read_to_string(path).map_err(failed("read", path))
}

fn write(path: &Path, content: &str) -> Result<String, ToolError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed("make the folder of", path))?;
    }
    fs::write(path, content).map_err(failed("write", path))?;
    Ok(format!("wrote {}", path.display()))
}

fn edit(path: &Path, old: &str, new: &str, all: bool) -> Result<String, ToolError> {
    let text = read(path)?;
    let times = if old.is_empty() { 0 } else { text.matches(old).count() };
    if times == 0 || (times > 1 && !all) {
        return Err(ToolError::NoSuchText { path: path.to_owned(), times });
    }
    write(path, &text.replace(old, new))
}

fn shell(command: &str, project: &Path, session: &str) -> Result<String, ToolError> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(project).stdin(Stdio::null()).process_group(0);
    shell.env("CLAUDE_CODE_SESSION_ID", session).env("RAILROAD_SESSION", session);
    let output = shell.output().map_err(|e| ToolError::NoShell(e.to_string()))?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Err(ToolError::Shell { code: output.status.code().unwrap_or(-1), output: text })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_tool_does_what_its_name_says() {
        let dir = tempfile::tempdir().expect("folder");
        let does = |tool, input: Value| act(tool, &input, dir.path(), "s");
        does("Write", json!({"file_path": "a/b.txt", "content": "one two"})).expect("writes");
        does("Edit", json!({"file_path": "a/b.txt", "old_string": "two", "new_string": "three"})).expect("edits");
        assert_eq!(does("Read", json!({"file_path": "a/b.txt"})).as_deref(), Ok("one three"));
        assert_eq!(does("Bash", json!({"command": "cat a/b.txt"})).as_deref(), Ok("one three"));
        let failed = does("Bash", json!({"command": "echo no >&2; exit 3"}));
        assert_eq!(failed, Err(ToolError::Shell { code: 3, output: "no\n".into() }));
    }

    #[test]
    fn an_edit_whose_text_is_not_there_exactly_once_changes_nothing() {
        let dir = tempfile::tempdir().expect("folder");
        let file = dir.path().join("f");
        fs::write(&file, "x x").expect("write");
        let edits = |old: &str| {
            let input = json!({"file_path": "f", "old_string": old, "new_string": "y"});
            act("Edit", &input, dir.path(), "s")
        };
        for (old, times) in [("x", 2), ("z", 0), ("", 0)] {
            assert_eq!(edits(old), Err(ToolError::NoSuchText { path: file.clone(), times }));
        }
        assert_eq!(fs::read_to_string(&file).expect("read"), "x x");
    }
}
