//! Small enough to try every set of servers.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use roo_proto::ensemble::{Ensemble, Member, MemberRole, Voting};
use roo_proto::ids::ServerId;

use super::{is_quorum, weight};
use crate::membership::Membership;

fn ensemble(voters: &[i64], observers: &[i64], voting: Voting) -> Ensemble {
    let member = |role, id: &i64| {
        let member = Member {
            addresses: Vec::new(),
            role,
            client: None,
        };
        (ServerId(*id), member)
    };
    let voters = voters.iter().map(|id| member(MemberRole::Voter, id));
    let observers = observers.iter().map(|id| member(MemberRole::Observer, id));
    Ensemble {
        version: 0,
        members: voters.chain(observers).collect(),
        voting,
    }
}

/// Three groups of three; one server weighs nothing, one as much as two.
fn hierarchy() -> Ensemble {
    let group = |ids: [i64; 3]| ids.into_iter().map(ServerId).collect::<BTreeSet<_>>();
    let groups = BTreeMap::from([
        (1, group([0, 1, 2])),
        (2, group([3, 4, 5])),
        (3, group([6, 7, 8])),
    ]);
    let weights = BTreeMap::from([(ServerId(2), 0), (ServerId(3), 2)]);
    let voting = Voting::Hierarchical { groups, weights };
    ensemble(&[0, 1, 2, 3, 4, 5, 6, 7, 8], &[], voting)
}

fn holds(set: u32, id: ServerId) -> bool {
    u32::try_from(id.0).is_ok_and(|id| set >> id & 1 == 1)
}

fn quorums(of: &Ensemble, servers: u32) -> Vec<u32> {
    (0..1 << servers)
        .filter(|set| is_quorum(of, |id| holds(*set, id)))
        .collect()
}

#[track_caller]
fn any_two_meet(quorums: &[u32]) {
    for one in quorums {
        for other in quorums {
            assert_ne!(
                one & other,
                0,
                "{one:b} and {other:b} have no server in common"
            );
        }
    }
}

#[test]
fn a_majority_is_more_than_half() {
    for servers in 1..=7 {
        let voters: Vec<_> = (0..servers).map(i64::from).collect();
        let ensemble = ensemble(&voters, &[8], Voting::Majority);
        for set in 0..1 << servers {
            let expected = 2 * u32::count_ones(set) > servers;
            assert_eq!(is_quorum(&ensemble, |id| holds(set, id)), expected);
            // An observer changes nothing.
            assert_eq!(is_quorum(&ensemble, |id| holds(set | 1 << 8, id)), expected);
        }
        any_two_meet(&quorums(&ensemble, servers));
    }
}

#[test]
fn nobody_is_no_quorum_of_nobody() {
    let empty = ensemble(&[], &[1], Voting::Majority);
    assert!(!is_quorum(&empty, |_| true));
    let voting = Voting::Hierarchical {
        groups: BTreeMap::new(),
        weights: BTreeMap::new(),
    };
    assert!(!is_quorum(&ensemble(&[1], &[], voting), |_| true));
}

#[test]
fn a_hierarchical_quorum_has_most_of_most_groups() {
    let hierarchy = hierarchy();
    for set in 0..1_u32 << 9 {
        let has = |id: u32| u32::from(set >> id & 1 == 1);
        let first = 2 * (has(0) + has(1)) > 2;
        let second = 2 * (2 * has(3) + has(4) + has(5)) > 4;
        let third = 2 * (has(6) + has(7) + has(8)) > 3;
        let won = u32::from(first) + u32::from(second) + u32::from(third);
        assert_eq!(
            is_quorum(&hierarchy, |id| holds(set, id)),
            won >= 2,
            "{set:b}"
        );
    }
    let quorums = quorums(&hierarchy, 9);
    any_two_meet(&quorums);
    assert!(quorums.contains(&0b0_0001_1011), "{quorums:?}");
}

#[test]
fn a_group_of_no_weight_does_not_count() {
    let group = |ids: &[i64]| ids.iter().map(|id| ServerId(*id)).collect::<BTreeSet<_>>();
    let voting = Voting::Hierarchical {
        groups: BTreeMap::from([(1, group(&[0])), (2, group(&[1, 2]))]),
        weights: BTreeMap::from([(ServerId(1), 0), (ServerId(2), 0)]),
    };
    let ensemble = ensemble(&[0, 1, 2], &[], voting);
    assert!(is_quorum(&ensemble, |id| id == ServerId(0)));
    assert!(!is_quorum(&ensemble, |id| id != ServerId(0)));
    assert_eq!(weight(&ensemble, ServerId(0)), 1);
    assert_eq!(weight(&ensemble, ServerId(1)), 0);
}

#[test]
fn while_an_ensemble_is_proposed_both_must_agree() {
    let old = alloc::sync::Arc::new(ensemble(&[0, 1, 2], &[], Voting::Majority));
    let mut new = ensemble(&[2, 3, 4, 5], &[], Voting::Majority);
    new.version = 1 << 32 | 7;
    let new = alloc::sync::Arc::new(new);
    let mut membership = Membership {
        me: ServerId(0),
        current: alloc::sync::Arc::clone(&old),
        next: None,
    };
    let mut effects = Vec::new();
    membership.propose(&new, &mut effects);
    for set in 0..1_u32 << 6 {
        let expected = is_quorum(&old, |id| holds(set, id)) && is_quorum(&new, |id| holds(set, id));
        assert_eq!(membership.has_quorum(|id| holds(set, id)), expected);
    }
    membership.activate(&new, &mut effects);
    for set in 0..1_u32 << 6 {
        let expected = is_quorum(&new, |id| holds(set, id));
        assert_eq!(membership.has_quorum(|id| holds(set, id)), expected);
    }
    assert_eq!(effects.len(), 2, "{effects:?}");
}
