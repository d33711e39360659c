//! What users do at gates, at double barriers and in a group.

use std::collections::BTreeSet;

use futures_util::future::{Either, select};
use roo_client::Result;
use roo_client::recipes::{Barrier, DoubleBarrier, Group};

use super::super::gatherings::{GATE, GROUP, Gatherings, TOGETHER};
use super::super::naive::{self, Naive};
use super::{Life, claim, patiently, settle};
use crate::recipes::ledger::{Ledger, What};

fn note<T>(life: &Life, what: impl FnOnce(&mut Gatherings) -> T) -> T {
    let ledger: &mut Ledger = &mut life.shared.ledger();
    what(&mut ledger.gatherings)
}

/// The first user keeps the gate, which stands open when it has finished; the others pass.
pub(super) async fn gate(life: &Life) -> Result<()> {
    let gate = Barrier::new(&life.client, GATE);
    if life.user == 0 {
        gate.close().await?;
        note(life, Gatherings::closed);
        life.desk.nap(60_000).await;
        return gate.open().await;
    }
    let known = note(life, |gatherings| gatherings.gate_known());
    let passed = match life.shared.naive {
        Some(Naive::PassUnsynced) => patiently(life, naive::pass(life)).await?,
        _ => patiently(life, gate.wait()).await?,
    };
    if passed.is_some() {
        note(life, |gatherings| gatherings.passed(known));
        life.shared.ledger().count("gates passed");
    }
    Ok(())
}

/// Begins and ends together with another, if another comes.
pub(super) async fn meet(life: &Life) -> Result<()> {
    let round = note(life, |gatherings| gatherings.round);
    let directory = format!("/together-{round}");
    let barrier = DoubleBarrier::new(&life.client, &directory, TOGETHER);
    if life.shared.naive == Some(Naive::CountArrivals) {
        if naive::arrive(life, &directory).await? {
            note(life, |gatherings| {
                gatherings.entered(&directory, life.client.last_zxid());
                gatherings.round += 1;
            });
        }
        return Ok(());
    }
    // Nobody else may come any more.
    let enter = std::pin::pin!(barrier.enter());
    let entered = match select(enter, life.desk.nap(800_000)).await {
        Either::Left((entered, _)) => entered?,
        Either::Right(_) => return Ok(()),
    };
    note(life, |gatherings| {
        gatherings.entered(&directory, entered.token())
    });
    life.desk.nap(20_000).await;
    if life.desk.chance(100) {
        drop(entered);
        return Ok(());
    }
    let departure = note(life, |gatherings| gatherings.begin_to_leave(&directory));
    match life.shared.naive {
        // Nobody is waited for.
        Some(Naive::LeaveAtOnce) => drop(entered),
        _ => entered.leave().await?,
    }
    note(life, |gatherings| {
        gatherings.left(departure);
        gatherings.round = gatherings.round.max(round + 1);
    });
    life.shared.ledger().count("double barriers left");
    Ok(())
}

/// Joins, looks who is there, and leaves.
pub(super) async fn join(life: &Life) -> Result<()> {
    let group = Group::new(&life.client, GROUP);
    let id = format!("{}-{}-{}", life.user, life.life, life.desk.below(u64::MAX));
    let membership = match life.shared.naive {
        Some(Naive::StayForGood) => {
            naive::join(life, &id).await?;
            None
        }
        _ => match patiently(life, group.join(&id, "")).await? {
            Some(membership) => Some(membership),
            None => return Ok(()),
        },
    };
    let session = life.client.session_id();
    note(life, |gatherings| gatherings.joined(id.clone(), session));
    for _ in 0..1 + life.desk.below(3) {
        list(life, &group).await?;
        life.desk.nap(30_000).await;
    }
    note(life, |gatherings| gatherings.begin_to_part(&id));
    let Some(membership) = membership else {
        return naive::part(life, &id).await;
    };
    if life.desk.chance(200) && !life.desk.is_ending() {
        drop(membership);
        return Ok(());
    }
    membership.leave().await?;
    note(life, |gatherings| gatherings.parted(&id));
    list(life, &group).await
}

async fn list(life: &Life, group: &Group) -> Result<()> {
    let listing = note(life, |gatherings| gatherings.begin_to_list());
    // A list that follows no sync may be old.
    if let Err(error) = life.client.sync(GROUP).await {
        return settle(Err(error));
    }
    let members = group.members().await?;
    let listed: BTreeSet<String> = members.into_iter().map(|member| member.id).collect();
    note(life, |gatherings| gatherings.listed(listing, listed));
    life.shared.ledger().count("lists of members");
    Ok(())
}

/// One id that all want.
pub(super) async fn be_the_one(life: &Life) -> Result<()> {
    let group = Group::new(&life.client, "/one");
    let Some(membership) = patiently(life, group.join_when_free("one", "")).await? else {
        return Ok(());
    };
    let claim = claim(life, What::Member, "/one/one".into(), membership.joined());
    let claimed = super::Claimed(life, claim);
    life.desk.nap(10_000).await;
    drop(claimed);
    membership.leave().await
}

/// Waits until the members of this user's former lives are gone.
pub(super) async fn await_former_lives(life: &Life) -> Result<()> {
    let group = Group::new(&life.client, GROUP);
    let (user, own) = (
        format!("{}-", life.user),
        format!("{}-{}-", life.user, life.life),
    );
    let mut members = group.members().await?;
    while members
        .iter()
        .any(|member| member.id.starts_with(&user) && !member.id.starts_with(&own))
    {
        members = group.changed(&members).await?;
    }
    Ok(())
}
