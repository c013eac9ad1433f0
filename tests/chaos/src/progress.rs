//! What a broken-off run leaves behind: a line for the run, then a line a seed.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::tally::Tally;

/// Which run it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The first seed.
    pub first: u64,
    /// How many.
    pub seeds: u64,
    /// Events of each.
    pub events: usize,
    /// Tells one build of the program from another: what an older one found proves nothing.
    pub program: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Line {
    seed: u64,
    tally: Tally,
}

/// The state file of a run.
#[derive(Debug)]
pub struct Progress {
    path: PathBuf,
    file: File,
    done: BTreeMap<u64, Tally>,
}

/// Which of the seeds that are done already count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Those of the same run, if it was broken off.
    WhereItBrokeOff,
    /// Those of the same run, which must have been broken off.
    Resume,
    /// None.
    Anew,
}

impl Progress {
    /// Opens the state file at `path`.
    pub fn open(path: &Path, run: &Run, begin: Begin) -> anyhow::Result<Self> {
        let done = match begin {
            Begin::Anew => None,
            Begin::WhereItBrokeOff | Begin::Resume => broken_off(path, run)?,
        };
        if done.is_none() && begin == Begin::Resume {
            bail!("{}: no such run was broken off by this program", path.display());
        }
        let done = done.unwrap_or_default();
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        // Written anew also to resume: a line that was cut off must not swallow the next.
        let mut text = serde_json::to_string(run)? + "\n";
        for (&seed, &tally) in &done {
            text += &(serde_json::to_string(&Line { seed, tally })? + "\n");
        }
        let partial = path.with_extension("partial");
        fs::write(&partial, text).with_context(|| partial.display().to_string())?;
        fs::rename(&partial, path).with_context(|| path.display().to_string())?;
        let file = OpenOptions::new().append(true).open(path)?;
        Ok(Self { path: path.to_owned(), file, done })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The seeds that are done, and what came of them.
    #[must_use]
    pub fn done(&self) -> &BTreeMap<u64, Tally> {
        &self.done
    }

    /// One more is done.
    pub fn add(&mut self, seed: u64, tally: Tally) -> anyhow::Result<()> {
        writeln!(self.file, "{}", serde_json::to_string(&Line { seed, tally })?)?;
        self.done.insert(seed, tally);
        Ok(())
    }
}

/// The seeds that are done, when the file is of this run and some are missing.
fn broken_off(path: &Path, run: &Run) -> anyhow::Result<Option<BTreeMap<u64, Tally>>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut lines = text.lines();
    let of: Option<Run> = lines.next().and_then(|line| serde_json::from_str(line).ok());
    if of.as_ref() != Some(run) {
        return Ok(None);
    }
    // The last line may be cut off.
    let done: BTreeMap<u64, Tally> = lines
        .filter_map(|line| serde_json::from_str::<Line>(line).ok())
        // A seed that failed is run again, so that it is said again.
        .filter(|line| line.tally.failed == 0)
        .map(|line| (line.seed, line.tally))
        .collect();
    let is_broken_off = !done.is_empty() && (done.len() as u64) < run.seeds;
    Ok(is_broken_off.then_some(done))
}
