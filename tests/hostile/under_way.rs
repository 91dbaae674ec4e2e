//! A model that changes while it is loaded: one clear error, or what was there when it was opened. Never something else.
#![cfg(unix)]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use lapidary::checkpoint::{Checkpoint, Source};
use lapidary::quant::Matrix;

use super::Model;

const ROUNDS: usize = 100;

/// What can become of a file.
#[derive(Debug, Clone, Copy)]
enum Change {
    Shrink,
    Grow,
    Overwrite,
    OverwriteWithOldTime,
    Replace,
    Remove,
    Empty,
    Pipe,
    Link,
}

const CHANGES: [Change; 9] = [
    Change::Shrink,
    Change::Grow,
    Change::Overwrite,
    Change::OverwriteWithOldTime,
    Change::Replace,
    Change::Remove,
    Change::Empty,
    Change::Pipe,
    Change::Link,
];

impl Change {
    /// Does it to the file at `path`, somewhere behind `at` of its bytes. Whether it could be done.
    fn apply(self, path: &Path, at: u64) -> bool {
        let file = || OpenOptions::new().write(true).open(path).unwrap();
        let spoil = |file: &File| {
            let mut old = [0; 64];
            let at = at.min(fs::metadata(path).unwrap().len() - 64);
            File::open(path).unwrap().read_exact_at(&mut old, at).unwrap();
            file.write_all_at(&old.map(|byte| byte ^ 0x55), at).unwrap();
        };
        let aside = path.with_extension("aside");
        match self {
            Change::Shrink => file().set_len(at).unwrap(),
            Change::Grow => file().set_len(fs::metadata(path).unwrap().len() + 1).unwrap(),
            Change::Empty => file().set_len(0).unwrap(),
            Change::Overwrite => spoil(&file()),
            Change::OverwriteWithOldTime => {
                let before = fs::metadata(path).unwrap().modified().unwrap();
                let file = file();
                spoil(&file);
                file.set_modified(before).unwrap();
            }
            Change::Replace => {
                fs::copy(path, &aside).unwrap();
                spoil(&OpenOptions::new().write(true).open(&aside).unwrap());
                fs::rename(&aside, path).unwrap();
            }
            Change::Remove => fs::remove_file(path).unwrap(),
            Change::Pipe => {
                let made = std::process::Command::new("mkfifo").arg(&aside).status();
                if !made.is_ok_and(|status| status.success()) {
                    return false;
                }
                fs::rename(&aside, path).unwrap();
            }
            Change::Link => {
                symlink("/dev/zero", &aside).unwrap();
                fs::rename(&aside, path).unwrap();
            }
        }
        true
    }
}

/// Numbers from a seed that each run has another of.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// What a load reads: all that is verified, and some matrices.
fn read(checkpoint: &Checkpoint, stage: &mut dyn FnMut()) -> lapidary::Result<Vec<Matrix>> {
    checkpoint.contents()?;
    stage();
    let mut matrices = Vec::new();
    for name in ["embed_tokens", "layers.0.mlp.down_proj", "layers.3.mlp.up_proj", "layers.5.self_attn.o_proj"] {
        matrices.push(checkpoint.load(name)?);
        stage();
    }
    checkpoint.check_unchanged()?;
    Ok(matrices)
}

/// One load that `change` befalls at a random stage. Whether it was refused.
fn round(change: Change, dir: &Path, files: &[(&str, Vec<u8>)], expected: &[Matrix], random: &mut Random) -> bool {
    let which = if random.below(4) < 3 { random.below(2) } else { 2 + random.below(2) };
    let (name, bytes) = &files[which as usize];
    let (at, when) = (random.below(bytes.len() as u64), random.below(6));
    let what = format!("{change:?} of {name} behind byte {at} at stage {when}");
    let (mut stage, mut done) = (0, true);
    let found = Checkpoint::open(Source::Directory(dir.to_owned())).and_then(|checkpoint| {
        let mut step = || {
            if stage == when {
                done = change.apply(&dir.join(name), at);
            }
            stage += 1;
        };
        step();
        read(&checkpoint, &mut step)
    });
    let _ = fs::remove_file(dir.join(name));
    fs::write(dir.join(name), bytes).unwrap();
    match (found, change) {
        // What is open stays, whoever removes its name.
        (Ok(matrices), Change::Remove) => assert!(matrices == expected, "{what}"),
        (Ok(_), _) => assert!(!done, "{what}: was accepted"),
        (Err(error), _) => {
            let text = error.to_string();
            let is_clear = error.exit_code() == 3 && text.contains("while it was read") && !text.contains('\n');
            assert!(is_clear && text.contains(name), "{what}: {text}");
            return true;
        }
    }
    false
}

#[test]
fn a_load_that_changes_under_way() {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    println!("seed {seed}");
    let model = Model::read("dense-gptq-desc-act");
    let refused: Vec<usize> = thread::scope(|scope| {
        let kinds = CHANGES.iter().zip(0..).map(|(&change, number)| {
            let model = &model;
            scope.spawn(move || {
                let mut random = Random(seed.wrapping_add(number));
                let (dir, _) = model.write_two();
                let names = ["a.safetensors", "b.safetensors", "config.json", "model.safetensors.index.json"];
                let files = names.map(|name| (name, fs::read(dir.path().join(name)).unwrap()));
                let whole = Checkpoint::open(Source::Directory(dir.path().to_owned())).unwrap();
                let expected = read(&whole, &mut || ()).unwrap();
                (0..ROUNDS).filter(|_| round(change, dir.path(), &files, &expected, &mut random)).count()
            })
        });
        let kinds: Vec<_> = kinds.collect();
        kinds.into_iter().map(|kind| kind.join().unwrap_or_else(|_| panic!("seed {seed}"))).collect()
    });
    for (change, refused) in CHANGES.into_iter().zip(refused) {
        match change {
            Change::Remove => {}
            Change::Pipe if refused == 0 => println!("skipped: no mkfifo"),
            _ => assert_eq!(refused, ROUNDS, "seed {seed}: {change:?}"),
        }
    }
}
