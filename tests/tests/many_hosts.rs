//! Stories of a fleet on several hosts: real sidecars on three machines, a real etcd of three members, and what befalls them.
//! Each is told twice, with the hosts in network namespaces and on links (docs/adr/0013-test-hosts.md). The lease is as
//! short as its relations allow (13 s); the bounds that are checked are those of the timings below, not of the defaults.

#[path = "many_hosts/answers.rs"]
mod answers;
#[path = "many_hosts/cut.rs"]
mod cut;
#[path = "many_hosts/pause.rs"]
mod pause;
#[path = "many_hosts/share.rs"]
mod share;
#[path = "many_hosts/stage.rs"]
mod stage;
#[path = "many_hosts/stopped.rs"]
mod stopped;
#[path = "many_hosts/twice.rs"]
mod twice;

use answers::a_call_is_approved_and_a_session_rolled_back_from_other_hosts_and_a_silent_host_is_named;
use cut::{
    a_cut_off_holder_is_denied_and_its_lock_goes_to_another_host_and_never_both,
    a_host_that_hears_nothing_is_denied_and_no_second_holder_comes,
    a_host_that_loses_one_member_goes_on_through_the_others,
    a_host_whose_word_does_not_arrive_is_denied_and_loses_its_lock,
};
use pause::{
    a_pause_reaches_a_host_that_is_cut_off_by_the_age_of_its_permit,
    pause_all_works_from_any_host_without_a_coordinator,
};
use share::{
    no_update_is_lost_while_leaders_of_etcd_are_killed,
    what_one_host_holds_no_other_host_can_write_and_the_denial_says_who,
};
use stopped::a_sidecar_stopped_beyond_its_lease_lets_nothing_through_before_it_has_looked;
use twice::{
    a_host_that_lost_power_is_another_session_under_the_same_name, one_workspace_is_registered_by_one_sidecar_only,
};

rr_tests::on_hosts!(
    a_call_is_approved_and_a_session_rolled_back_from_other_hosts_and_a_silent_host_is_named,
    what_one_host_holds_no_other_host_can_write_and_the_denial_says_who,
    no_update_is_lost_while_leaders_of_etcd_are_killed,
    a_cut_off_holder_is_denied_and_its_lock_goes_to_another_host_and_never_both,
    a_host_whose_word_does_not_arrive_is_denied_and_loses_its_lock,
    a_host_that_hears_nothing_is_denied_and_no_second_holder_comes,
    a_host_that_loses_one_member_goes_on_through_the_others,
    a_sidecar_stopped_beyond_its_lease_lets_nothing_through_before_it_has_looked,
    one_workspace_is_registered_by_one_sidecar_only,
    a_host_that_lost_power_is_another_session_under_the_same_name,
    a_pause_reaches_a_host_that_is_cut_off_by_the_age_of_its_permit,
    pause_all_works_from_any_host_without_a_coordinator,
);
