//! Random damage: refused in order, or accepted and then read as another reader reads it.

use std::path::Path;

use lapidary::checkpoint::{Checkpoint, Projection};
use lapidary::quant::DenseMatrix;

use super::draw::Draw;
use super::harness::{Call, HELLO, IDS, INSPECT, TIME, measure};
use super::{Model, Tensor, expect, fs, open, refused, serialize};

/// A few matrices of all kinds, dequantized, and the values of one dense tensor.
fn sample(checkpoint: &Checkpoint) -> lapidary::Result<Vec<DenseMatrix>> {
    let mut all = vec![];
    for name in ["layers.0.mlp.up_proj", "layers.3.self_attn.q_proj", "layers.5.router.proj", "embed_tokens"] {
        all.push(checkpoint.load(name)?.to_dense().unwrap());
    }
    for (layer, expert) in [(0, 0), (2, 7), (5, 15)] {
        for part in Projection::ALL {
            all.push(checkpoint.expert(layer, expert, part)?.to_dense().unwrap());
        }
    }
    Ok(all)
}

/// The folder's tensors as the safetensors crate reads them, in one new file with the folder's configuration.
fn reread(dir: &Path) -> tempfile::TempDir {
    let mut tensors: Vec<Tensor> = Vec::new();
    for file in ["a.safetensors", "b.safetensors"] {
        let bytes = fs::read(dir.join(file)).unwrap();
        let read =
            safetensors::SafeTensors::deserialize(&bytes).unwrap_or_else(|e| panic!("the reference reader: {e}"));
        tensors.extend(read.iter().map(|(name, view)| Tensor {
            name: name.to_owned(),
            dtype: view.dtype().to_string(),
            shape: view.shape().to_vec(),
            data: view.data().to_vec(),
        }));
    }
    let copy = tempfile::tempdir().unwrap();
    fs::copy(dir.join("config.json"), copy.path().join("config.json")).unwrap();
    fs::write(copy.path().join("model.safetensors"), serialize(&tensors)).unwrap();
    copy
}

/// What is accepted loads, is the same when it is read again, and the same as the reference reader has it.
fn check_accepted(what: &str, dir: &Path, checkpoint: &Checkpoint) {
    if checkpoint.verify_contents().is_err() {
        return; // Contents that no kernel may see: found before any is run.
    }
    let values = |checkpoint: &Checkpoint| sample(checkpoint).unwrap_or_else(|e| panic!("{what}: accepted, but: {e}"));
    let found = values(checkpoint);
    assert!(values(&open(dir).unwrap()) == found, "{what}: other values when read again");
    let copy = reread(dir);
    let reference =
        open(copy.path()).unwrap_or_else(|e| panic!("{what}: accepted, but what the reference reads is not: {e}"));
    assert!(values(&reference) == found, "{what}: other values than the reference reader's");
}

fn damaged(whole: &[u8], within: usize, draw: &mut Draw) -> Vec<u8> {
    let pieces: [&[u8]; 16] = [
        b"0",
        b"-1",
        b"null",
        b"{}",
        b"[",
        b"\"",
        b"18446744073709551615",
        b"1e400",
        b",",
        b"\0",
        b"\xff",
        b"true",
        b"\x1b",
        b"\"a\":1,",
        b" ",
        b"5e-324",
    ];
    let mut bytes = whole.to_vec();
    for _ in 0..1 + draw.below(3) {
        let at = draw.below(bytes.len().min(within));
        match draw.below(4) {
            0 => bytes[at] ^= 1 << draw.below(8),
            1 => bytes[at] = b"0123456789abcdef\"{}[]:,"[draw.below(23)],
            _ => {
                let piece = pieces[draw.below(pieces.len())];
                let end = (at + draw.below(piece.len() + 4)).min(bytes.len());
                bytes.splice(at..end, piece.iter().copied());
            }
        }
    }
    bytes
}

/// Random damage to the configuration, the index and the header.
#[test]
fn random_damage_never_panics() {
    let mut draw = Draw::new("random_damage");
    let (dir, _) = Model::base().write_two();
    let mut accepted = 0;
    for (name, within) in [("config.json", usize::MAX), ("model.safetensors.index.json", 4000), ("a.safetensors", 4000)]
    {
        let path = dir.path().join(name);
        let whole = fs::read(&path).unwrap();
        for case in 0..400 {
            let bytes = damaged(&whole, within, &mut draw);
            fs::write(&path, &bytes).unwrap();
            let what = format!("{name}, case {case}");
            let start = measure::of_this_thread();
            let result = open(dir.path());
            let time = measure::of_this_thread() - start;
            assert!(time < *TIME, "{what}: {time:?} of processor time");
            let code = match &result {
                Ok(checkpoint) => {
                    accepted += 1;
                    check_accepted(&what, dir.path(), checkpoint);
                    None
                }
                Err(error) => {
                    expect(&what, error, &[]);
                    Some(3)
                }
            };
            if draw.below(20) == 0 {
                let ended = INSPECT.ends(&what, &Call::inspect(dir.path()));
                assert!(code.is_none_or(|code| ended.code == Some(code)), "{what}: {:?}", ended.code);
            }
        }
        fs::write(&path, whole).unwrap();
    }
    // Damage in strings that nothing depends on, and in the numbers of tensors, is often none.
    assert!(accepted > 20, "{accepted} of 1200 were accepted, which proves little of those");
    println!("{accepted} of 1200 accepted");
}

/// That the comparison with the reference reader can fail: two tensors of one shape change places in the file.
#[test]
fn swapped_tensors_are_other_values() {
    let (dir, _) = Model::base().write_two();
    let found = sample(&open(dir.path()).unwrap()).unwrap();
    let copy = reread(dir.path());
    assert!(sample(&open(copy.path()).unwrap()).unwrap() == found);
    let mut model = Model::base();
    let other = model.get("layers.1.mlp.up_proj.qweight").data.clone();
    model.get("layers.0.mlp.up_proj.qweight").data = other;
    let swapped = model.write();
    assert!(sample(&open(swapped.path()).unwrap()).unwrap() != found);
}

/// A device node in the folder, not a link to one outside: of each kind, and in the place of each file.
#[cfg(unix)]
#[test]
fn device_nodes_in_the_folder_are_never_opened() {
    let small = ["generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"];
    for name in ["model.safetensors", "config.json", "model.safetensors.index.json"].into_iter().chain(small) {
        for (kind, numbers) in [("c", ["1", "5"]), ("c", ["1", "7"]), ("b", ["7", "0"]), ("p", ["", ""])] {
            let dir = Model::base().write();
            let path = dir.path().join(name);
            fs::remove_file(&path).ok();
            let mut command = std::process::Command::new("mknod");
            command.arg(&path).arg(kind).args(numbers.iter().filter(|number| !number.is_empty()));
            if !command.output().is_ok_and(|output| output.status.success()) {
                eprint_loudly(&format!("device nodes: NOT RUN, {kind} {numbers:?} as {name}: mknod is not permitted"));
                continue;
            }
            let what = format!("{name} as {kind} {numbers:?}");
            if small[1..].contains(&name) {
                // Of these, `inspect` needs none.
                let ended = INSPECT.ends(&what, &Call::inspect(dir.path()));
                assert!(
                    ended.code == Some(0) || ended.text().contains("not a regular file"),
                    "{what}: {}",
                    ended.text()
                );
                IDS.refuses(&what, &Call::ids(dir.path(), HELLO), 3, &[]);
            } else {
                refused(&what, dir.path(), &[&format!("\"{name}\""), "not a regular file"]);
            }
        }
    }
}

#[cfg(unix)]
fn eprint_loudly(line: &str) {
    use std::io::Write;
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}
