//! One suite that every transport passes: what a server may rely on.
#![allow(clippy::unwrap_used)]

mod suite;
mod world;

/// Runs every rule over both transports.
macro_rules! over_both {
    ($($rule:ident),* $(,)?) => {
        mod memory {
            $(#[test] fn $rule() { crate::suite::$rule(crate::world::Transport::Memory); })*
        }
        mod grpc {
            $(#[test] fn $rule() { crate::suite::$rule(crate::world::Transport::Grpc); })*
        }
    };
}

over_both!(
    a_link_keeps_the_order_of_what_is_sent,
    both_directions_carry_every_kind_of_message,
    ids_of_accepted_links_are_odd_and_never_used_again,
    what_was_sent_before_a_close_arrives_before_it,
    a_close_by_the_acceptor_is_seen_by_the_dialler,
    links_of_a_peer_that_ends_are_closed_at_once,
    who_cannot_be_reached_closes_the_link,
    a_receiver_that_keeps_its_permits_stops_bulk,
    bulk_that_waits_ends_with_the_link,
    a_peer_that_takes_nothing_is_given_up,
    a_link_whose_queue_is_full_is_closed,
    a_message_that_is_too_long_closes_the_link,
    one_slow_link_does_not_hold_up_another,
    the_newest_notification_is_sent_again_on_a_new_stream,
    a_peer_that_ends_is_unreachable_at_once_and_reachable_when_it_is_back,
    servers_of_different_ensembles_refuse_each_other,
    a_server_that_is_no_member_is_refused,
    a_joiner_is_admitted_and_gets_notifications_where_joiners_are,
    a_server_that_is_no_longer_a_member_is_not_dialled,
);
