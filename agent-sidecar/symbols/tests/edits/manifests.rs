//! Manifests, by key.
//! It refuses to know how edits are found; how a case is written is in the file above.

use rr_core::live::GitPath;
use rr_symbols::{Parses, compare, is_lock_file};

use super::{compared, is_layout, say, told};

const PACKAGE_JSON: &str = r#"{
  "name": "shop",
  "scripts": { "test": "vitest  run", "build": "tsc -p ." },
  "dependencies": { "react": "^18.2.0", "@types/node": "20.1.0" },
  "devDependencies": { "vite": "5.0.0" },
  "overrides": { "foo": { "bar": "1.0.0" } },
  "engines": { "node": ">=20" }
}
"#;

#[test]
fn package_json_is_told_by_key() {
    told(
        "web/package.json",
        PACKAGE_JSON,
        &[
            ("version", "^18.2.0", "^19.0.0", "dependencies/react: ^18.2.0 -> ^19.0.0"),
            ("added", "\"react\"", "\"zod\": \"3\", \"react\"", "dependencies/zod: nothing -> 3"),
            ("removed", ", \"@types/node\": \"20.1.0\"", "", "dependencies/@types/node: 20.1.0 -> nothing"),
            ("development", "5.0.0", "5.1.0", "devDependencies/vite: 5.0.0 -> 5.1.0"),
            ("override", "\"1.0.0\"", "\"1.0.1\"", r#"overrides/foo: {"bar":"1.0.0"} -> {"bar":"1.0.1"}"#),
            ("engine", ">=20", ">=22", "engines/node: >=20 -> >=22"),
            ("script", "vitest  run", "vitest run", "scripts/test: vitest  run -> vitest run"),
            ("other keys", "\"shop\"", "\"store\"", ""),
            ("broken", "\"engines\":", "\"engines\"", "worse"),
        ],
    );
    is_layout("package.json", PACKAGE_JSON, &PACKAGE_JSON.replace("\n  ", "\n\t").replace("{ ", "{\n"));
}

const CARGO_TOML: &str = r#"[package]
name = "shop"
edition = "2021"

[dependencies]
serde = "1.0"
tokio = { version = "1", features = ["rt", "net"] }

[dependencies.own]
path = "../own"

[target.'cfg(unix)'.dependencies]
rustix = "1"

[workspace.dependencies]
anyhow = "1"

[features]
default = ["a", "b"] # both
"#;

#[test]
fn cargo_toml_is_told_by_key() {
    told(
        "Cargo.toml",
        CARGO_TOML,
        &[
            ("version", "\"1.0\"", "\"1.1\"", "dependencies/serde: 1.0 -> 1.1"),
            ("a table of the same", "\"1.0\"", "{ version = \"1.0\" }", ""),
            ("a feature", "\"rt\", ", "", "dependencies/tokio: 1 { features = [net, rt] } -> 1 { features = [net] }"),
            ("features in another order", "\"rt\", \"net\"", "\"net\", \"rt\"", ""),
            ("path", "../own", "../mine", "dependencies/own: { path = ../own } -> { path = ../mine }"),
            ("target", "rustix = \"1\"", "rustix = \"2\"", "target/cfg(unix)/dependencies/rustix: 1 -> 2"),
            ("workspace", "anyhow = \"1\"", "anyhow.version = \"2\"", "workspace/dependencies/anyhow: 1 -> 2"),
            ("feature", "\"a\", \"b\"", "\"a\"", "features/default: [a, b] -> [a]"),
            ("edition", "2021", "2024", "package/edition: 2021 -> 2024"),
            ("comment", "# both", "# all", ""),
            ("broken", "[features]", "[features", "worse"),
        ],
    );
    is_layout("Cargo.toml", CARGO_TOML, &CARGO_TOML.replace("\n\n", "\n"));
}

const PYPROJECT: &str = r#"[project]
name = "shop"
requires-python = ">=3.11"
dependencies = ["Requests[socks] >= 2.0 ; python_version < '4'", "typing_extensions"]

[project.optional-dependencies]
docs = ["sphinx==7"]

[dependency-groups]
dev = ["pytest>=8"]

[tool.poetry.group.lint.dependencies]
ruff = { version = "0.4" }
"#;

#[test]
fn pyproject_is_told_by_key() {
    told(
        "pyproject.toml",
        PYPROJECT,
        &[
            (
                "version",
                ">= 2.0",
                ">= 2.1",
                "project/dependencies/requests: [socks]>=2.0;python_version<'4' -> [socks]>=2.1;python_version<'4'",
            ),
            ("the same name", "typing_extensions", "Typing.Extensions", ""),
            ("added", "\"typing_ext", "\"rich>=13\", \"typing_ext", "project/dependencies/rich: nothing -> >=13"),
            ("optional", "==7", "==8", "project/optional-dependencies/docs/sphinx: ==7 -> ==8"),
            ("group", "pytest>=8", "pytest>=9", "dependency-groups/dev/pytest: >=8 -> >=9"),
            ("poetry", "{ version = \"0.4\" }", "\"0.5\"", "tool/poetry/group/lint/dependencies/ruff: 0.4 -> 0.5"),
            ("python", ">=3.11", ">=3.12", "project/requires-python: >=3.11 -> >=3.12"),
            ("broken", "dev = [", "dev = ", "worse"),
        ],
    );
}

#[test]
fn requirements_are_told_by_name() {
    let source = "# locked\n-r base.txt\nDjango==5.0 \\\n    --hash=sha256:00\nuvicorn[standard]>=0.2  # server\n";
    for path in ["requirements.txt", "requirements-dev.txt", "requirements/prod.txt"] {
        told(
            path,
            source,
            &[
                ("version", "==5.0", "==5.1", "django: ==5.0 -> ==5.1"),
                ("hash", "sha256:00", "sha256:01", ""),
                ("added", "Django", "flask\nDjango", "flask: nothing -> "),
                ("removed", "uvicorn[standard]>=0.2  # server\n", "", "uvicorn: [standard]>=0.2 -> nothing"),
                ("comment", "# server", "# the server", ""),
            ],
        );
    }
}

#[test]
fn go_mod_is_told_by_module() {
    let source = "module shop\n\ngo 1.22\n\nrequire (\n\tx.org/a v1.0.0\n\tx.org/b v0.2.0 // indirect\n)\n\nreplace x.org/a => ../a\n";
    told(
        "go.mod",
        source,
        &[
            ("version", "v1.0.0", "v1.1.0", "require/x.org/a: v1.0.0 -> v1.1.0"),
            ("added", "\tx.org/b", "\tx.org/c v1.0.0\n\tx.org/b", "require/x.org/c: nothing -> v1.0.0"),
            ("replaced", "=> ../a", "=> ../other", "replace/x.org/a: ../a -> ../other"),
            ("language", "go 1.22", "go 1.23", "go: 1.22 -> 1.23"),
            ("comment", " // indirect", "", ""),
            ("broken", ")\n", "", "worse"),
        ],
    );
    is_layout("go.mod", source, &source.replace('\t', "    "));
}

#[test]
fn a_manifest_that_was_broken_before_is_not_worse_and_tells_nothing() {
    let broken = "{ \"dependencies\": { \"react\": \"18\" }";
    assert_eq!(say(&compared("package.json", broken, &broken.replace("18", "19"))), "");
    assert_eq!(say(&compared("package.json", broken, &format!("{broken}}}"))), "");
    let new = compare(&"package.json".into(), None, Some(broken.as_bytes()), &[]);
    assert_eq!((new.packages.len(), new.parses), (0, Parses::WorseThanBefore));
}

#[test]
fn packages_come_and_go_with_their_manifest() {
    let path: GitPath = "go.mod".into();
    let source = b"module a\nrequire x.org/a v1\n";
    let came = compare(&path, None, Some(source), &[]);
    assert_eq!(say(&came), "module: nothing -> a require/x.org/a: nothing -> v1");
    let went = compare(&path, Some(source), None, &[]);
    assert_eq!(say(&went), "module: a -> nothing require/x.org/a: v1 -> nothing");
}

#[test]
fn lock_files_are_known_by_name() {
    for path in ["Cargo.lock", "web/package-lock.json", "a/b/pnpm-lock.yaml", "go.sum", "uv.lock", "poetry.lock"] {
        assert!(is_lock_file(&path.into()), "{path}");
    }
    for path in ["Cargo.toml", "lock", "src/Cargo.lock.rs", "Cargo.lock/x"] {
        assert!(!is_lock_file(&path.into()), "{path}");
    }
}
