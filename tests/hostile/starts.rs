//! First starts that are ended, and several at once: none leaves anything behind that a later start would mistake.
#![cfg(all(unix, not(target_os = "macos")))]

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cache::{FIRST_START, start};
use super::harness::{Ended, Failures, finish};
use super::{Path, fs};

/// Files in the cache folder.
fn names(cache: &Path) -> Vec<String> {
    let entries = fs::read_dir(cache.join("lapidary")).into_iter().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn says(ended: &Ended, words: &str) -> bool {
    ended.text().contains(words)
}

/// Ended by a signal in the middle of the checks: the next start checks, and the one after it knows.
#[test]
fn first_starts_that_are_ended() {
    let mut failures = Failures::default();
    for (signal, later) in [
        (Signal::SIGINT, 300),
        (Signal::SIGTERM, 300),
        (Signal::SIGTERM, 0),
        (Signal::SIGHUP, 300),
        (Signal::SIGKILL, 300),
        (Signal::SIGKILL, 0),
    ] {
        let cache = tempfile::tempdir().unwrap();
        let what = format!("{signal} {later} ms into the checks");
        let child = start(cache.path()).spawn(None);
        let id = Pid::from_raw(child.id() as i32);
        let begun = Instant::now();
        // The first file in the folder is what marks the checks.
        while names(cache.path()).is_empty() && begun.elapsed() < Duration::from_secs(60) {
            thread::sleep(Duration::from_millis(5));
        }
        thread::sleep(Duration::from_millis(later));
        kill(id, signal).unwrap();
        let ended = finish(child);
        failures.case(|| {
            assert_ne!(ended.code, Some(0), "{what}: too late, the start had ended");
            let next = FIRST_START.ends(&what, &start(cache.path()));
            assert_eq!(next.code, Some(0), "{what}: {}", next.text());
            assert!(says(&next, "first start on") && !says(&next, "unchecked"), "{what}: next: {}", next.text());
            let third = FIRST_START.ends(&what, &start(cache.path()));
            assert!(!says(&third, "first start on") && !says(&third, "unchecked"), "{what}: third: {}", third.text());
            let left = names(cache.path());
            assert!(!left.iter().any(|name| name.ends_with(".part") || name.ends_with(".begun")), "{what}: {left:?}");
        });
    }
    failures.done();
}

/// Ended again and again: checks that a signal ended say nothing of the adapter.
#[test]
fn a_first_start_that_is_ended_five_times() {
    let cache = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let child = start(cache.path()).spawn(None);
        let id = Pid::from_raw(child.id() as i32);
        let begun = Instant::now();
        while names(cache.path()).is_empty() && begun.elapsed() < Duration::from_secs(60) {
            thread::sleep(Duration::from_millis(5));
        }
        thread::sleep(Duration::from_millis(200));
        kill(id, if round % 2 == 0 { Signal::SIGTERM } else { Signal::SIGINT }).unwrap();
        finish(child);
    }
    let next = FIRST_START.ends("after five", &start(cache.path()));
    assert!(next.code == Some(0) && says(&next, "first start on") && !says(&next, "unchecked"), "{}", next.text());
}

/// Several at once with one empty folder: the same answer, one record, and none says that checks never ended.
#[test]
fn first_starts_at_once() {
    let mut failures = Failures::default();
    for count in [2, 8] {
        let cache = tempfile::tempdir().unwrap();
        FIRST_START.limits();
        let children: Vec<_> = (0..count).map(|_| start(cache.path()).spawn(None)).collect();
        let threads: Vec<_> = children.into_iter().map(|child| thread::spawn(move || finish(child))).collect();
        let ended: Vec<Ended> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let what = format!("{count} at once");
        failures.case(|| {
            for one in &ended {
                FIRST_START.judge(&what, one);
                assert_eq!(one.code, Some(0), "{what}: {}", one.text());
                assert_eq!(one.out, ended[0].out, "{what}: other answers");
                assert!(!says(one, "unchecked"), "{what}: {}", one.text());
            }
            let left = names(cache.path());
            let records = left.iter().filter(|name| name.ends_with(".json")).count();
            assert!(records == 1 && !left.iter().any(|name| name.ends_with(".part")), "{what}: {left:?}");
            let later = FIRST_START.ends(&what, &start(cache.path()));
            assert!(!says(&later, "first start on") && !says(&later, "unchecked"), "{what}: {}", later.text());
        });
    }
    failures.done();
}
