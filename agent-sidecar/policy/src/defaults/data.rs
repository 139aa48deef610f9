//! Databases: statements and commands that drop data. SQL counts only in what a known client is given.

use super::{Builtin, Look, Scene};
use crate::seen::Seen;
use crate::sql::{CLIENTS, Statement};

pub(super) const RULES: &[Builtin] = &[
    Builtin {
        name: "default/sql-destroys",
        programs: CLIENTS,
        because: "it drops tables, databases or rows for everybody who uses this database",
        instead: "write a migration, or try it inside `BEGIN; ... ROLLBACK;` on a database of your own (`:memory:`)",
        look: Look::Command(|seen, scene| seen.statements.iter().any(destroys) || drops_all_keys(seen, scene)),
    },
    Builtin {
        name: "default/database-drop",
        programs: &[
            "dropdb",
            "dropuser",
            "mysqladmin",
            "pg_resetwal",
            "mongodump",
            "mongorestore",
            "pg_restore",
            "pg_dropcluster",
            "etcdctl",
            "consul",
            "rabbitmqctl",
            "kafka-topics",
            "kafka-topics.sh",
            "curl",
            "influx",
            "nodetool",
            "vault",
            "memcached",
            "systemd-run",
        ],
        because: "it drops a database or store with all in it",
        instead: "make one of your own to try things on (`createdb scratch_NAME`), or ask the person",
        look: Look::Command(drops),
    },
    Builtin {
        name: "default/migrations-reset",
        programs: &[
            "prisma",
            "rails",
            "rake",
            "manage.py",
            "python",
            "python3",
            "php",
            "artisan",
            "sequelize",
            "sequelize-cli",
            "typeorm",
            "knex",
            "drizzle-kit",
            "alembic",
            "flyway",
            "liquibase",
            "dbmate",
            "sqlx",
            "diesel",
            "mix",
            "doctrine",
            "supabase",
            "flask",
            "goose",
            "migrate",
            "atlas",
            "hasura",
            "bundle",
            "django-admin",
            "mikro-orm",
            "sea-orm-cli",
            "ecto",
            "symfony",
            "console",
            "npm",
            "yarn",
            "pnpm",
            "bun",
            "make",
            "just",
        ],
        because: "it empties the database before it builds it anew",
        instead: "apply the next migration only (`prisma migrate dev`), on a database of your own",
        look: Look::Command(resets),
    },
];

fn destroys(statement: Statement<'_>) -> bool {
    const OBJECTS: &[&str] = &[
        "TABLE",
        "DATABASE",
        "SCHEMA",
        "USER",
        "ROLE",
        "TABLESPACE",
        "OWNED",
        "KEYSPACE",
        "COLUMN",
        "VIEW",
        "MATERIALIZED",
        "COLLECTION",
        "EXTENSION",
        "SEQUENCE",
        "TYPE",
        "BUCKET",
        "MEASUREMENT",
    ];
    let words: Vec<&str> = statement.words().collect();
    let pair = |a: &str, of: &[&str]| words.windows(2).any(|two| two[0] == a && of.contains(&two[1]));
    let first = words.iter().copied().find(|w| !matches!(*w, "EXPLAIN" | "BEGIN" | "")).unwrap_or_default();
    let deletes_all = words.windows(2).position(|two| two == ["DELETE", "FROM"]).is_some_and(|at| {
        !words[at..].iter().any(|w| matches!(*w, "WHERE" | "USING" | "LIMIT")) || is_all(&words[at..])
    });
    let redis = words
        .iter()
        .any(|w| matches!(*w, "FLUSHALL" | "FLUSHDB") || w.contains("'FLUSHALL'") || w.contains("'FLUSHDB'"))
        || words.windows(2).any(|two| two == ["DEBUG", "SEGFAULT"]);
    let mongo = words.iter().any(|w| matches!(*w, "DROPDATABASE" | "DROPINDEXES")) && words.len() < 40
        || words.windows(2).any(|two| two[0] != "CREATE" && two[1] == "DROP") && words.first() == Some(&"DB")
        || (words.contains(&"DELETEMANY") || words.first() == Some(&"DB") && words.last() == Some(&"REMOVE"))
            && words.len() <= 4;
    let truncates = first == "TRUNCATE" || words.windows(2).any(|two| two[0] == "TRUNCATE" && two[1] == "TABLE");
    pair("DROP", OBJECTS) || deletes_all || redis || mongo || truncates
}

/// `WHERE true`, `WHERE 1=1`.
fn is_all(words: &[&str]) -> bool {
    let condition = words.iter().position(|word| *word == "WHERE").map(|at| &words[at + 1..]);
    condition
        .is_some_and(|rest| !rest.is_empty() && rest.iter().all(|word| matches!(*word, "TRUE" | "1=1" | "1" | "=")))
}

/// `redis-cli keys '*' | xargs redis-cli del`.
fn drops_all_keys(seen: &Seen<'_>, scene: &Scene<'_>) -> bool {
    let drops = seen.texts().any(|text| matches!(text.to_lowercase().as_str(), "del" | "unlink"));
    let all = |from: &Seen<'_>| {
        from.name == seen.name && (from.any(&["--scan"]) && !from.any(&["--pattern"]) || from.any(&["*"]))
    };
    matches!(seen.name, "redis-cli" | "valkey-cli") && drops && scene.feeders(seen).any(all)
}

fn drops(seen: &Seen<'_>, _: &Scene<'_>) -> bool {
    match seen.name {
        "dropdb" | "dropuser" | "pg_resetwal" | "pg_dropcluster" => !seen.any(&["--help", "-?", "--version", "-V"]),
        "mysqladmin" => seen.any(&["drop", "flush-all"]),
        "mongorestore" => seen.exact("--drop"),
        "pg_restore" => seen.has('c', "clean"),
        "etcdctl" => seen.any(&["del"]) && (seen.exact("--prefix") || seen.exact("--from-key")),
        "consul" => seen.any(&["delete"]) && seen.any(&["-recurse"]),
        "rabbitmqctl" => seen.any(&["reset", "force_reset", "delete_vhost", "purge_queue"]),
        "kafka-topics" | "kafka-topics.sh" => seen.exact("--delete"),
        "influx" => seen.any(&["delete"]),
        "nodetool" => seen.any(&["decommission", "removenode", "clearsnapshot"]),
        "vault" => seen.any(&["delete", "destroy", "disable"]) || seen.is(&[], &["kv", "metadata", "delete"]),
        "curl" => {
            let delete = seen
                .value(&["-X", "--request"])
                .or_else(|| seen.texts().find_map(|t| t.strip_prefix("-X")))
                .is_some_and(|m| m.eq_ignore_ascii_case("delete"));
            delete
                && seen
                    .texts()
                    .any(|t| t.contains(":9200") || t.contains("/_all") || t.contains(":5984") || t.contains(":8086"))
        }
        _ => false,
    }
}

fn resets(seen: &Seen<'_>, _: &Scene<'_>) -> bool {
    let words: Vec<&str> = seen.texts().collect();
    let has = |word: &str| words.contains(&word);
    let two = |a: &str, b: &str| words.windows(2).any(|pair| pair == [a, b]);
    match seen.name {
        "prisma" => two("migrate", "reset") || two("db", "push") && (has("--force-reset") || has("--accept-data-loss")),
        "rails" if has("runner") || has("r") => {
            words.iter().any(|w| w.contains(".delete_all") || w.contains(".destroy_all"))
        }
        "rails" | "rake" | "bundle" => words.iter().any(|w| {
            matches!(
                *w,
                "db:drop"
                    | "db:reset"
                    | "db:purge"
                    | "db:schema:load"
                    | "db:migrate:reset"
                    | "db:drop:all"
                    | "db:setup:reset"
                    | "db:truncate_all"
            )
        }),
        "manage.py" | "python" | "python3" | "django-admin" | "flask" => {
            let managed = seen.name != "python" && seen.name != "python3"
                || words.iter().any(|w| w.ends_with("manage.py"))
                || two("-m", "django");
            managed && (has("flush") || has("reset_db") || has("sqlflush") && has("--execute"))
                || managed && has("migrate") && words.last() == Some(&"zero")
                || managed && words.iter().any(|w| w.contains("objects.all().delete()"))
                || managed && two("downgrade", "base")
        }
        "php" | "artisan" | "console" | "symfony" => words.iter().any(|w| {
            matches!(
                *w,
                "migrate:fresh"
                    | "migrate:reset"
                    | "migrate:refresh"
                    | "db:wipe"
                    | "doctrine:database:drop"
                    | "doctrine:schema:drop"
                    | "doctrine:fixtures:load"
            )
        }),
        "sequelize" | "sequelize-cli" => words.iter().any(|w| matches!(*w, "db:drop" | "db:migrate:undo:all")),
        "typeorm" => words.iter().any(|w| w.ends_with("schema:drop")),
        "knex" => two("migrate:rollback", "--all"),
        "drizzle-kit" => has("drop"),
        "alembic" => two("downgrade", "base"),
        "flyway" => has("clean"),
        "liquibase" => has("drop-all") || has("dropAll"),
        "dbmate" => has("drop"),
        "sqlx" | "diesel" => two("database", "drop") || two("database", "reset"),
        "mix" => words.iter().any(|w| matches!(*w, "ecto.drop" | "ecto.reset")),
        "goose" => has("reset"),
        "migrate" => has("drop") || two("down", "-all"),
        "atlas" => two("schema", "clean"),
        "supabase" => two("db", "reset"),
        "mikro-orm" => words.iter().any(|w| matches!(*w, "schema:drop" | "schema:fresh" | "migration:fresh")),
        "sea-orm-cli" => two("migrate", "fresh") || two("migrate", "reset") || two("migrate", "refresh"),
        "npm" | "yarn" | "pnpm" | "bun" | "make" | "just" => {
            words.iter().any(|w| matches!(*w, "db:drop" | "db:reset" | "db:wipe" | "migrate:fresh" | "migrate:reset"))
        }
        _ => false,
    }
}
