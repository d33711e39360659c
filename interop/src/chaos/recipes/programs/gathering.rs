//! What users do at a gate and at double barriers.

use std::time::Duration;

use anyhow::Result;
use roo_client::recipes::{Barrier, DoubleBarrier, Group};
use roo_client::{ErrorKind, NodeKind, Version};

use super::super::together::MEMBERS;
use super::super::{GATE, GROUP, Life, PULSE, TOGETHER};
use super::{patiently, unless_cut_off};

/// One user keeps the gate, and leaves it open; the others pass.
pub(super) async fn gate(life: &Life<'_>) -> Result<()> {
    let gate = Barrier::new(&life.client, GATE);
    if life.user.name.ends_with("-0") {
        gate.close().await?;
        // What an earlier life has sent may open it.
        if is_only_life(life).await? {
            life.book().gate.was_closed();
        }
        life.nap(60).await;
        life.book().gate.about_to_open();
        return Ok(gate.open().await?);
    }
    let waiting = life.book().gate.come();
    if patiently(life, gate.wait()).await?.is_some() {
        life.book().gate.passed(waiting)?;
    }
    Ok(())
}

async fn is_only_life(life: &Life<'_>) -> Result<bool> {
    if let Err(error) = life.client.sync(GROUP).await {
        unless_cut_off(error)?;
        return Ok(false);
    }
    let members = Group::new(&life.client, GROUP).members().await?;
    Ok(!members.iter().any(|member| life.is_former(&member.id)))
}

/// Begins and ends together with another, if another comes. A third may come late.
pub(super) async fn meet(life: &Life<'_>) -> Result<()> {
    let round = life.book().together.round();
    let directory = format!("{TOGETHER}/{round}");
    make(life, &directory).await?;
    let barrier = DoubleBarrier::new(&life.client, &directory, MEMBERS);
    let attempt = life.book().together.about_to_come(round);
    // Nobody else may come any more.
    let limit = life.user.time(0, 1_000);
    let Ok(entered) = tokio::time::timeout(limit, barrier.enter()).await else {
        await_departure(life, &directory).await?;
        life.book().together.is_gone(attempt);
        return Ok(());
    };
    let entered = entered?;
    let stay = life.book().together.entered(attempt)?;
    life.nap(20).await;
    life.stand_still();
    let moment = life.book().together.moment();
    if is_alive(life).await? {
        life.book().together.stayed(stay, moment)?;
    }
    if life.user.below(10) == 0 {
        drop(entered);
        return Ok(());
    }
    let departure = life.book().together.about_to_leave(stay);
    entered.leave().await?;
    life.book().together.left(departure);
    Ok(())
}

/// Makes a directory that stays: one that the recipe makes is a container.
async fn make(life: &Life<'_>, path: &str) -> Result<()> {
    loop {
        match life.client.create(path, "", NodeKind::Persistent).await {
            Ok(_) => return Ok(()),
            Err(error) if *error.kind() == ErrorKind::NodeExists => return Ok(()),
            Err(error) => unless_cut_off(error)?,
        }
    }
}

/// Whether this session can still write, so that what belongs to it is there; nobody knows where
/// the answer is lost.
async fn is_alive(life: &Life<'_>) -> Result<bool> {
    match life.client.set(PULSE, "", Version::Any).await {
        Ok(_) => Ok(true),
        Err(error) => unless_cut_off(error).map(|()| false),
    }
}

/// Waits until nothing of this session is there that it has given up.
async fn await_departure(life: &Life<'_>, directory: &str) -> Result<()> {
    let session = life.client.session_id().0;
    loop {
        // Behind a write of its own a session sees all that it wrote before.
        let mut is_there = !is_alive(life).await?;
        for name in life.client.children(directory).await?.names {
            let stat = life.client.exists(&format!("{directory}/{name}")).await?;
            is_there |= stat.is_some_and(|stat| stat.ephemeral_owner == session);
        }
        if !is_there {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
