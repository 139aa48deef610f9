//! Who may ask what: one table over all methods of the wire, looked up before a request reaches its service. What is not in the
//! table is answered to nobody. It knows no request's content; `gate` asks it.

use rr_link::identity::Role;

/// What a method asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// This role at least.
    Role(Role),
    /// Nothing: the request itself shows a token.
    Token,
}

const TABLE: [(&str, Needs); 37] = [
    ("/railroad.v1.Fleet/Status", Needs::Role(Role::Viewer)),
    ("/railroad.v1.Fleet/Watch", Needs::Role(Role::Viewer)),
    ("/railroad.v1.Fleet/Pause", Needs::Role(Role::Operator)),
    ("/railroad.v1.Fleet/Resume", Needs::Role(Role::Operator)),
    ("/railroad.v1.Fleet/PostRestore", Needs::Role(Role::Admin)),
    ("/railroad.v1.Locks/ForceRelease", Needs::Role(Role::Operator)),
    ("/railroad.v1.Enrol/CreateToken", Needs::Role(Role::Admin)),
    ("/railroad.v1.Enrol/Join", Needs::Token),
    ("/railroad.v1.Enrol/Renew", Needs::Role(Role::Viewer)),
    ("/railroad.v1.Enrol/Deny", Needs::Role(Role::Admin)),
    ("/railroad.v1.Enrol/Allow", Needs::Role(Role::Admin)),
    ("/railroad.v1.Enrol/Hosts", Needs::Role(Role::Viewer)),
    // Agents' machines ask it before every push.
    ("/railroad.v1.Publish/Judge", Needs::Role(Role::Viewer)),
    ("/railroad.v1.Publish/Vouch", Needs::Role(Role::Operator)),
    ("/railroad.v1.Approvals/List", Needs::Role(Role::Viewer)),
    ("/railroad.v1.Approvals/Watch", Needs::Role(Role::Viewer)),
    // An agent's machine has a lower role: what it asks it cannot approve.
    ("/railroad.v1.Approvals/Decide", Needs::Role(Role::Operator)),
    ("/railroad.v1.Journal/Log", Needs::Role(Role::Viewer)),
    // Sidecars do what is asked of them through the store: who may ask is decided here.
    ("/railroad.v1.Journal/Rollback", Needs::Role(Role::Operator)),
    ("/railroad.v1.Journal/Checkpoint", Needs::Role(Role::Operator)),
    ("/railroad.v1.Journal/Hold", Needs::Role(Role::Operator)),
    ("/railroad.v1.Overlap/List", Needs::Role(Role::Viewer)),
    ("/railroad.v1.Overlap/Watch", Needs::Role(Role::Viewer)),
    ("/railroad.v1.Overlap/Explain", Needs::Role(Role::Viewer)),
    ("/railroad.v1.Health/Show", Needs::Role(Role::Viewer)),
    ("/railroad.v1.Health/History", Needs::Role(Role::Viewer)),
    // It costs the hosts time, and what is trusted is run on them.
    ("/railroad.v1.Health/Run", Needs::Role(Role::Operator)),
    ("/railroad.v1.Health/Trust", Needs::Role(Role::Operator)),
    ("/railroad.v1.Incidents/List", Needs::Role(Role::Viewer)),
    ("/railroad.v1.Incidents/Show", Needs::Role(Role::Viewer)),
    ("/railroad.v1.Incidents/Watch", Needs::Role(Role::Viewer)),
    // An order reverts work and lets the fleet go on.
    ("/railroad.v1.Incidents/Order", Needs::Role(Role::Operator)),
    ("/railroad.v1.CountedSlots/List", Needs::Role(Role::Viewer)),
    ("/railroad.v1.CountedSlots/Watch", Needs::Role(Role::Viewer)),
    // Agents' machines build; whose slots they may ask for is the service's to say.
    ("/railroad.v1.CountedSlots/Join", Needs::Role(Role::Agent)),
    ("/railroad.v1.CountedSlots/Stay", Needs::Role(Role::Agent)),
    ("/railroad.v1.CountedSlots/Leave", Needs::Role(Role::Agent)),
];

/// `None`: there is no such method.
pub(crate) fn needs(path: &str) -> Option<Needs> {
    TABLE.iter().find(|(method, _)| *method == path).map(|(_, needs)| *needs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_method_of_the_wire_is_in_the_table_and_nothing_else() {
        let wire: BTreeSet<&str> = rr_proto::METHODS.iter().copied().collect();
        let table: BTreeSet<&str> = TABLE.iter().map(|(method, _)| *method).collect();
        assert_eq!(table, wire);
        assert_eq!(table.len(), TABLE.len(), "a method stands in it twice");
    }

    #[test]
    fn whoever_sees_the_fleet_sees_what_the_watcher_knows_and_orders_need_whom_a_pause_needs() {
        let pause = needs("/railroad.v1.Fleet/Pause");
        let watch = TABLE.iter().filter(|(method, _)| {
            ["Overlap", "Health", "Incidents"].iter().any(|service| method.contains(&format!(".{service}/")))
        });
        for (method, found) in watch {
            let orders = ["Run", "Trust", "Order"].iter().any(|order| method.ends_with(&format!("/{order}")));
            let wanted = if orders { pause } else { needs("/railroad.v1.Fleet/Status") };
            assert_eq!(Some(*found), wanted, "{method}");
        }
    }

    #[test]
    fn only_joining_is_open_to_those_without_a_certificate() {
        let open: Vec<_> =
            TABLE.iter().filter(|(_, needs)| *needs == Needs::Token).map(|(method, _)| *method).collect();
        assert_eq!(open, ["/railroad.v1.Enrol/Join"]);
    }
}
