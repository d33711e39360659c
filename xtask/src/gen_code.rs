//! `cargo xtask gen`: the code that is made from .proto files and committed, so that building the
//! product needs no generator.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::root;

const PROTO: &str = "crates/roo-peer/proto/peer.proto";
const GENERATED: &str = "crates/roo-peer/src/grpc/generated.rs";

/// Renews the generated code, or with `--check` only says whether it is fresh.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    match arguments {
        [] => {
            fs::write(root().join(GENERATED), generate()?)
                .with_context(|| format!("write {GENERATED}"))?;
            println!("gen: {GENERATED} is renewed");
            Ok(())
        }
        [only] if only == "--check" => match stale()? {
            Some(error) => bail!("{error}"),
            None => Ok(()),
        },
        _ => bail!("gen: expected nothing or --check"),
    }
}

/// What is wrong with the committed code, if anything.
pub(crate) fn stale() -> Result<Option<String>> {
    let committed = fs::read_to_string(root().join(GENERATED)).unwrap_or_default();
    Ok((committed != generate()?)
        .then(|| format!("{GENERATED} does not come from {PROTO}: run cargo xtask gen")))
}

fn generate() -> Result<String> {
    let proto = root().join(PROTO);
    let folder = proto.parent().context("the folder of the .proto file")?;
    let descriptors =
        protox::compile([&proto], [folder]).with_context(|| format!("read {PROTO}"))?;
    // One folder per process: tests of this crate and the command may run at once.
    let out = root().join(format!("target/xtask-gen-{}", std::process::id()));
    fs::create_dir_all(&out).with_context(|| format!("make {}", out.display()))?;
    let made = tonic_prost_build::configure()
        .build_transport(false)
        .bytes(".")
        .out_dir(&out)
        .compile_fds(descriptors)
        .and_then(|()| fs::read_to_string(out.join("roo.peer.rs")));
    fs::remove_dir_all(&out).with_context(|| format!("remove {}", out.display()))?;
    made.context("generate code")
}
