//! The runbook has an entry for each alarm, and no other.

use std::collections::BTreeMap;
use std::path::Path;

use crate::world::{LOG_GROUPS, all_alarms};

/// What an entry answers.
const QUESTIONS: [&str; 4] = ["**Means:**", "**Look at:**", "**Do:**", "**If nobody does:**"];

/// Entries by alarm.
fn entries() -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/runbook.md");
    let text = std::fs::read_to_string(path).expect("docs/runbook.md");
    let mut sections = text.split("\n### ");
    sections.next();
    let entry = |section: &str| {
        let (title, body) = section.split_once('\n').expect("a body");
        (title.trim_matches('`').to_owned(), body.to_owned())
    };
    sections.map(entry).collect()
}

/// The alarms as the runbook calls them: those of single log groups have one entry.
fn alarms() -> Vec<String> {
    let punctuation = |name: &str| name.replace(|c: char| !c.is_ascii_alphanumeric(), "");
    let mut names: Vec<String> = all_alarms()
        .into_keys()
        .map(|name| {
            let group = LOG_GROUPS.iter().find(|group| name.ends_with(&punctuation(group)));
            match group {
                Some(group) => name.replace(&punctuation(group), "…"),
                None => name,
            }
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn every_alarm_has_an_entry_and_every_entry_an_alarm() {
    let entries: Vec<String> = entries().into_keys().collect();
    assert_eq!(entries, alarms());
}

#[test]
fn an_entry_answers_every_question_in_order() {
    for (alarm, entry) in entries() {
        let mut rest = &*entry;
        for question in QUESTIONS {
            let (_, after) =
                rest.split_once(question).unwrap_or_else(|| panic!("{alarm} lacks {question}"));
            assert!(after.trim_start().len() > 20, "{alarm}: {question} is not answered");
            rest = after;
        }
    }
}

/// An entry's address in the page, as GitHub and others make it of a heading.
fn anchor(title: &str) -> String {
    let kept = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    title.to_lowercase().chars().filter(kept).collect()
}

#[test]
fn every_alarm_ends_with_its_entry() {
    let entries: Vec<String> = entries().into_keys().map(|title| anchor(&title)).collect();
    for (alarm, of_stack) in all_alarms() {
        let (_, entry) = of_stack
            .description
            .rsplit_once(" Runbook: docs/runbook.md#")
            .unwrap_or_else(|| panic!("{alarm}: {}", of_stack.description));
        assert!(entries.iter().any(|there| there == entry), "{alarm}: no entry {entry}");
        let is_its_own = alarm == entry || alarm.to_lowercase().starts_with(entry);
        assert!(is_its_own, "{alarm} ends with {entry}");
        assert!(of_stack.description.chars().count() <= 1_024, "{alarm}: CloudWatch takes no more");
    }
}
