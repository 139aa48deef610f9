//! Tools that destroy what runs somewhere else: clouds, clusters, containers, servers. One command, and no commit has it.

use super::{Builtin, Look, Scene};
use crate::seen::Seen;

pub(super) const RULES: &[Builtin] = &[
    Builtin {
        name: "default/infrastructure-destroy",
        programs: &[
            "terraform",
            "terragrunt",
            "pulumi",
            "cdk",
            "cdktf",
            "serverless",
            "sls",
            "sst",
            "sam",
            "copilot",
            "eksctl",
            "kops",
            "amplify",
            "packer",
            "vagrant",
            "nomad",
            "waypoint",
            "ansible",
            "terraformer",
            "helmfile",
            "crossplane",
            "eb",
        ],
        because: "it destroys running infrastructure, with its data",
        instead: "show the plan (`terraform plan -destroy`) and ask the person to apply it",
        look: Look::Command(infrastructure),
    },
    Builtin {
        name: "default/cluster-delete",
        programs: &[
            "kubectl",
            "oc",
            "helm",
            "k3d",
            "kind",
            "minikube",
            "kustomize",
            "flux",
            "argocd",
            "istioctl",
            "k3s",
            "velero",
            "kubeadm",
        ],
        because: "it removes what runs in a cluster, for everybody",
        instead: "name one resource and try it with `--dry-run=client`, or ask the person",
        look: Look::Command(cluster),
    },
    Builtin {
        name: "default/cloud-delete",
        programs: &[
            "aws",
            "gcloud",
            "az",
            "gsutil",
            "s3cmd",
            "s5cmd",
            "rclone",
            "mc",
            "doctl",
            "heroku",
            "fly",
            "flyctl",
            "vercel",
            "netlify",
            "railway",
            "render",
            "supabase",
            "wrangler",
            "firebase",
            "linode-cli",
            "hcloud",
            "ibmcloud",
            "oci",
            "bq",
            "neonctl",
            "pscale",
            "scw",
            "cf",
            "ovhai",
            "aliyun",
            "b2",
            "azcopy",
            "turso",
        ],
        because: "it deletes something in the cloud that cannot be had back",
        instead: "list or describe it first, and ask the person to delete it",
        look: Look::Command(cloud),
    },
    Builtin {
        name: "default/containers-wipe",
        programs: &[
            "docker",
            "podman",
            "nerdctl",
            "docker-compose",
            "podman-compose",
            "multipass",
            "virsh",
            "VBoxManage",
        ],
        because: "it removes containers, images or volumes of everybody on this machine, with the data in them",
        instead: "remove your own by name: `docker rm NAME`, `docker compose down` without `--volumes`",
        look: Look::Command(containers),
    },
];

fn infrastructure(seen: &Seen<'_>, _: &Scene<'_>) -> bool {
    let verbs = seen.verbs(&[
        "--cwd",
        "-C",
        "--stack",
        "-s",
        "--profile",
        "--region",
        "--app",
        "-a",
        "--config",
        "--stage",
        "--working-dir",
        "--terragrunt-working-dir",
    ]);
    let words = || seen.texts();
    match seen.name {
        "terraform" | "terragrunt" => {
            let verb = verbs.iter().find(|v| !matches!(**v, "run-all" | "run" | "stack")).copied().unwrap_or_default();
            let destroys = verb == "destroy"
                || verb == "apply" && words().any(|t| matches!(t, "-destroy" | "--destroy" | "-destroy=true"));
            let forgets = matches!(
                verbs.as_slice(),
                ["state", "rm" | "push", ..] | ["workspace", "delete", ..] | ["force-unlock" | "taint", ..]
            );
            let by_variable = || {
                seen.call
                    .assignments
                    .iter()
                    .any(|(name, value)| name.starts_with("TF_CLI_ARGS") && value.text().contains("-destroy"))
            };
            let planned = verb == "plan" || verb == "validate";
            (destroys || forgets || verbs.contains(&"destroy-all") || !planned && by_variable())
                && !seen.any(&["-dry-run", "-help", "--help"])
        }
        "pulumi" => {
            matches!(verbs.first(), Some(&"destroy" | &"down" | &"dn")) && !seen.exact("--preview-only")
                || matches!(verbs.as_slice(), ["stack", "rm", ..] | ["state", "delete", ..])
        }
        "nomad" => matches!(
            verbs.as_slice(),
            ["system", "gc", ..] | ["job", "stop", ..] | ["stop", ..] | ["namespace", "delete", ..]
        ),
        "eksctl" | "kops" | "copilot" => verbs.contains(&"delete"),
        "ansible" => seen.texts().any(|t| {
            t.contains("rm -rf /") || t.contains("state=absent") && t.split_whitespace().any(|word| word == "path=/")
        }),
        "eb" => verbs.first() == Some(&"terminate"),
        "packer" => false,
        "helmfile" => verbs.contains(&"destroy") || verbs.contains(&"delete"),
        _ => matches!(verbs.first(), Some(&"destroy" | &"remove" | &"delete")) || verbs.starts_with(&["app", "delete"]),
    }
}

fn cluster(seen: &Seen<'_>, _: &Scene<'_>) -> bool {
    const VALUED: &[&str] = &[
        "-n",
        "--namespace",
        "--context",
        "--kubeconfig",
        "-s",
        "--server",
        "--user",
        "--cluster",
        "--token",
        "-l",
        "--selector",
        "-f",
        "-o",
        "--as",
        "--kube-context",
        "--timeout",
        "-p",
        "--profile",
    ];
    let verbs = seen.verbs(VALUED);
    let dry = seen.texts().any(|t| t.starts_with("--dry-run") && t != "--dry-run=none");
    if dry || seen.any(&["--help", "-h"]) {
        return false;
    }
    let verb = verbs.first().copied().unwrap_or_default();
    match seen.name {
        "kubectl" | "oc" | "k3s" => {
            let verbs = if verb == "kubectl" { &verbs[1..] } else { &verbs[..] };
            let what = verbs.get(1).copied().unwrap_or_default();
            let kinds = [
                "ns",
                "namespace",
                "namespaces",
                "node",
                "nodes",
                "no",
                "pv",
                "pvc",
                "persistentvolume",
                "persistentvolumes",
                "persistentvolumeclaim",
                "persistentvolumeclaims",
                "crd",
                "crds",
                "customresourcedefinition",
                "all",
                "project",
                "statefulset",
                "statefulsets",
                "sts",
                "deployment",
                "deployments",
                "deploy",
                "secret",
                "secrets",
                "clusterrole",
                "clusterrolebinding",
                "storageclass",
                "sc",
                "ingress",
                "service",
                "svc",
            ];
            let kind = what.split(['/', ',', '.']).next().unwrap_or_default();
            match verbs.first().copied().unwrap_or_default() {
                "delete" => {
                    kinds.contains(&kind)
                        || seen.texts().any(|t| t.contains("$(kubectl get") || t.contains("`kubectl get"))
                        || seen.any(&["--all", "-A", "--all-namespaces", "--all=true"])
                        || seen.has('f', "filename")
                        || seen.has('k', "kustomize")
                }
                "drain" | "taint" => true,
                "replace" => seen.exact("--force"),
                "scale" => seen.texts().any(|t| t == "--replicas=0") || seen.value(&["--replicas"]) == Some("0"),
                "apply" => seen.exact("--prune"),
                _ => false,
            }
        }
        "helm" => matches!(verb, "uninstall" | "delete" | "del" | "un"),
        "kubeadm" => verb == "reset",
        "argocd" | "flux" | "velero" | "istioctl" => {
            verbs.iter().take(2).any(|v| matches!(*v, "delete" | "uninstall" | "purge"))
        }
        "minikube" | "kind" | "k3d" => {
            verb == "delete" && seen.any(&["--all", "--purge", "-a"])
                || verbs.starts_with(&["cluster", "delete"]) && seen.any(&["--all", "-a"])
        }
        _ => false,
    }
}

fn cloud(seen: &Seen<'_>, _: &Scene<'_>) -> bool {
    const VALUED: &[&str] = &[
        "--profile",
        "--region",
        "--output",
        "--endpoint-url",
        "--query",
        "--project",
        "--account",
        "-a",
        "--app",
        "--subscription",
        "-g",
        "--resource-group",
        "-n",
        "--name",
        "--format",
        "-c",
        "--config",
        "--token",
        "--scope",
        "-t",
        "--org",
        "-o",
    ];
    let verbs = seen.verbs(VALUED);
    let first = verbs.first().copied().unwrap_or_default();
    let second = verbs.get(1).copied().unwrap_or_default();
    if seen.any(&["--dry-run", "--dryrun", "--help", "help", "-n"]) && !matches!(seen.name, "az") {
        return false;
    }
    match seen.name {
        "aws" => aws(seen, first, second),
        "gcloud" | "az" | "doctl" | "hcloud" | "ibmcloud" | "oci" | "linode-cli" | "scw" | "neonctl" | "pscale"
        | "aliyun" => {
            verbs.iter().any(|v| {
                matches!(*v, "delete" | "destroy" | "purge" | "rm" | "delete-batch" | "terminate" | "instance-delete")
                    || v.starts_with("delete-")
            }) && !verbs.contains(&"list")
        }
        "gsutil" => {
            matches!(first, "rb")
                || first == "rm"
                    && (seen.letter('r')
                        || seen.letter('R')
                        || seen.letter('a')
                        || seen.texts().any(|t| t.contains('*')))
                || first == "rsync" && seen.letter('d')
        }
        "s3cmd" => matches!(first, "rb") || matches!(first, "del" | "rm") && seen.has('r', "recursive"),
        "s5cmd" => matches!(first, "rb") || first == "rm" && seen.texts().any(|t| t.contains('*')),
        "mc" => matches!(first, "rb") || first == "rm" && seen.has('r', "recursive"),
        "rclone" => matches!(first, "purge" | "delete" | "rmdirs"),
        "b2" => first.starts_with("delete") || first.starts_with("rm"),
        "azcopy" => matches!(first, "remove" | "rm"),
        "heroku" => matches!(
            first,
            "apps:destroy"
                | "addons:destroy"
                | "pg:reset"
                | "destroy"
                | "domains:clear"
                | "redis:reset"
                | "pipelines:destroy"
                | "apps:delete"
        ),
        "fly" | "flyctl" => verbs.iter().take(3).any(|v| matches!(*v, "destroy" | "delete" | "rm")),
        "vercel" => matches!(first, "rm" | "remove") || second == "rm" || second == "remove",
        "netlify" => verbs.iter().any(|v| v.contains("delete")),
        "railway" => matches!(first, "down" | "delete") || verbs.contains(&"delete"),
        "firebase" => first.contains(":delete") || first.contains(":disable") || first.contains(":clear"),
        "wrangler" => verbs.iter().take(4).any(|v| matches!(*v, "delete" | "remove" | "purge")),
        "bq" => first == "rm" && (seen.letter('r') || seen.letter('f') || seen.letter('d')),
        "supabase" => {
            matches!((first, second), ("db", "reset")) && seen.any(&["--linked", "--db-url"])
                || verbs.iter().take(2).any(|v| *v == "delete")
        }
        "cf" => first.starts_with("delete"),
        "turso" => verbs.iter().any(|v| matches!(*v, "destroy" | "delete")),
        _ => false,
    }
}

fn aws(seen: &Seen<'_>, service: &str, verb: &str) -> bool {
    if service == "s3" {
        return verb == "rb" || verb == "rm" && seen.exact("--recursive") || verb == "sync" && seen.exact("--delete");
    }
    let deletes = verb.starts_with("delete-")
        || verb.starts_with("terminate-")
        || verb.starts_with("deregister-")
        || verb.starts_with("purge-")
        || verb.starts_with("batch-delete")
        || verb == "schedule-key-deletion"
        || verb.starts_with("disable-key");
    deletes && !matches!(verb, "delete-message" | "delete-item" | "delete-tags")
}

fn containers(seen: &Seen<'_>, scene: &Scene<'_>) -> bool {
    const VALUED: &[&str] = &[
        "-H",
        "--host",
        "--context",
        "-c",
        "-l",
        "--log-level",
        "--config",
        "-f",
        "--file",
        "-p",
        "--project-name",
        "--profile",
        "--env-file",
        "--filter",
    ];
    let verbs = seen.verbs(VALUED);
    let volumes = seen.has('v', "volumes");
    let force = seen.has('f', "force") || seen.long("force");
    // Chosen by name or label they are not everybody's.
    let chooses = |text: &str| {
        ["name=", "label=", "dangling=true"].iter().any(|filter| text.contains(filter))
            && text.matches("$(").count() < 2
    };
    let lists = |from: &Seen<'_>| matches!(from.name, "docker" | "podman" | "nerdctl");
    let many = scene.feeders(seen).any(|from| lists(from) && !from.texts().any(chooses))
        || seen.texts().any(|t| ["$(docker", "$(podman", "`docker"].iter().any(|list| t.contains(list)) && !chooses(t));
    match (seen.name, verbs.as_slice()) {
        ("multipass", ["delete" | "purge", ..]) => return seen.any(&["--all", "--purge", "purge"]),
        ("virsh", ["undefine" | "vol-delete" | "pool-delete", ..]) => return true,
        ("VBoxManage", ["unregistervm", ..]) => return seen.exact("--delete"),
        ("docker-compose" | "podman-compose", ["rm", ..]) => return volumes && force,
        ("multipass" | "virsh" | "VBoxManage", _) => return false,
        _ => {}
    }
    match verbs.as_slice() {
        ["system", "prune" | "reset", ..] => seen.has('a', "all") || volumes || verbs[1] == "reset" || force,
        ["volume", "prune" | "rm" | "remove", ..] => true,
        ["image" | "container" | "network" | "builder" | "buildx", "prune", ..] => {
            seen.has('a', "all") && verbs[0] != "builder" && verbs[0] != "buildx"
        }
        ["compose", "down", ..] | ["down", ..] => volumes || seen.exact("--rmi"),
        ["compose", "rm", ..] => volumes && force,
        ["swarm", "leave", ..] => force,
        ["stack" | "service", "rm", ..] => true,
        ["rm" | "kill" | "stop" | "rmi", ..] | ["container", "rm" | "kill" | "stop", ..] | ["image", "rm", ..] => {
            many || seen.has('a', "all") && seen.name == "podman"
        }
        ["run", ..] => mounts_root(seen),
        _ => false,
    }
}

/// The whole machine inside of a container, with its rights.
fn mounts_root(seen: &Seen<'_>) -> bool {
    seen.texts().any(|text| {
        let text = ["--volume=", "-v"].iter().find_map(|option| text.strip_prefix(option)).unwrap_or(text);
        text.starts_with("/:/") || text.contains("source=/,") || text.contains("src=/,")
    })
}
