//! libFuzzer over one target, for `tests/fuzz/run`; without `TARGET`, the targets' names.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use sluice_fuzz::{TARGETS, Target};

static TARGET: OnceLock<&'static Target> = OnceLock::new();

fuzz_target!(
    init: {
        let target = chosen();
        write_seeds(target).expect("FUZZ_DIR can be written");
        TARGET.get_or_init(|| target);
    },
    |input: &[u8]| {
        if let Some(target) = TARGET.get() {
            (target.check)(input);
        }
    }
);

fn chosen() -> &'static Target {
    let name = std::env::var("TARGET").unwrap_or_default();
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| {
        eprintln!("{}", names.join("\n"));
        std::process::exit(if name.is_empty() { 0 } else { 2 });
    })
}

/// The corpus begins with the seeds, and the dictionary holds the words.
fn write_seeds(target: &Target) -> std::io::Result<()> {
    let Some(dir) = std::env::var_os("FUZZ_DIR").map(PathBuf::from) else { return Ok(()) };
    let corpus = dir.join("corpus").join(target.name);
    fs::create_dir_all(&corpus)?;
    for (place, seed) in (target.seeds)().iter().enumerate() {
        fs::write(corpus.join(format!("seed-{place}")), seed)?;
    }
    let quoted = |word: &&str| -> String {
        let bytes: String = word.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
        format!("\"{bytes}\"\n")
    };
    fs::write(
        dir.join(format!("{}.dict", target.name)),
        target.words.iter().map(quoted).collect::<String>(),
    )
}
