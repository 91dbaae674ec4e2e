//! Values that are no numbers stop a model, and the error names the kernel that made the first of them.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use lapidary::Error;
use lapidary::checkpoint::{Checkpoint, Source};
use lapidary::engine::{Generator, Request, Sampling};
use lapidary::gpu::Tier;
use lapidary::model::{Next, Options, Precision, Want};
use lapidary::parallel::{Parallel, Shares};
use safetensors::SafeTensors;

use super::steps::{load, rows};

/// The largest bf16 but some, and one that is none.
const HUGE: u16 = 0x7f61;
const NAN: u16 = 0x7fc0;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// The set `name` with the values `at` of a bf16 tensor replaced.
fn planted(name: &str, tensor: &str, at: std::ops::Range<usize>, value: u16) -> (tempfile::TempDir, Checkpoint) {
    let (from, to) = (golden(name), tempfile::tempdir().unwrap());
    fs::copy(from.join("config.json"), to.path().join("config.json")).unwrap();
    let mut bytes = fs::read(from.join("model.safetensors")).unwrap();
    let start = {
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let names = file.names();
        let name = names.iter().find(|found| found.ends_with(tensor)).unwrap();
        file.tensor(name).unwrap().data().as_ptr() as usize - bytes.as_ptr() as usize
    };
    for number in bytes[start + 2 * at.start..start + 2 * at.end].chunks_exact_mut(2) {
        number.copy_from_slice(&value.to_le_bytes());
    }
    fs::write(to.path().join("model.safetensors"), bytes).unwrap();
    let checkpoint = Checkpoint::open(Source::Directory(to.path().to_owned())).unwrap();
    (to, checkpoint)
}

/// Width of the golden sets.
const HIDDEN: usize = 96;
/// A token whose row of the embedding, which is the head too, is no number.
const BAD: u32 = 5;

fn bad_token() -> (tempfile::TempDir, Checkpoint) {
    let row = BAD as usize * HIDDEN;
    planted("dense-gptq-desc-act", "embed_tokens.weight", row + 7..row + 8, NAN)
}

/// The error of an answer to `prompt`.
fn error(generator: &mut Generator, prompt: &[u32], sampling: Sampling) -> String {
    let request = Request { sampling, max_tokens: Some(4) };
    let answer = generator.generate(0, prompt, &request, &mut |_| ControlFlow::Continue(()));
    let error = answer.expect_err("no token comes of such logits");
    assert!(matches!(error, Error::NotFinite(_)) && error.exit_code() == 5, "{error:?}");
    assert!(generator.held(0).is_empty() && generator.model().len(0) == 0, "the slot can be used again");
    error.to_string()
}

fn generator(checkpoint: &Checkpoint, options: &Options) -> Generator {
    Generator::new(load(checkpoint, options), &[1], &[])
}

const DRAWN: Sampling = Sampling { temperature: 1.0, top_k: 64, top_p: 0.95, seed: 1 };

#[test]
fn the_kernel_that_overflows_is_named() {
    let norm = |layer: usize, name: &str| format!("layers.{layer}.{name}.weight");
    let dot = Options { precision: Precision::Fast, tier: Some(Tier::Dot), ..Options::exact() };
    for (set, tensor, options, place) in [
        (
            "dense-gptq-desc-act",
            norm(3, "post_attention_layernorm"),
            Options::exact(),
            "layer 3, after_attention (kernel add_norm)",
        ),
        (
            "moe-gptq-desc-act",
            norm(2, "post_feedforward_layernorm"),
            dot.clone(),
            "layer 2, moe_combine (kernel moe_combine",
        ),
        (
            "moe-gptq-desc-act",
            norm(2, "post_feedforward_layernorm"),
            Options { host_experts: 3, ..dot },
            "layer 2, moe_combine (kernel moe_combine",
        ),
    ] {
        let (_folder, checkpoint) = planted(set, &tensor, 0..HIDDEN, HUGE);
        let mut generator = generator(&checkpoint, &options);
        // A prompt for few rows, then one for many.
        for (prompt, at) in [(&[2, 9, 7][..], "positions 0 to 2"), (&[9; 20], "positions 0 to 19")] {
            let said = error(&mut generator, prompt, Sampling::GREEDY);
            assert!(said.starts_with(place) && said.contains(at), "{tensor}: {said}");
        }
    }
}

#[test]
fn so_are_the_embedding_and_the_head() {
    let (_folder, checkpoint) = bad_token();
    let mut one = generator(&checkpoint, &Options::exact());
    let parallel = Parallel { shares: Shares::equal(2).unwrap(), ..Parallel::default() };
    let mut two = generator(&checkpoint, &Options { parallel, ..Options::exact() });
    for (generator, sampling) in [(&mut one, Sampling::GREEDY), (&mut two, DRAWN)] {
        let said = error(generator, &[2, 9, 7], sampling);
        assert!(said.starts_with("lm_head made the logit of token 5 at position 0 NaN"), "{said}");
        let said = error(generator, &[2, BAD, 7], sampling);
        assert!(said.starts_with("embed (kernel embed, dense) made NaN or infinity at positions 0 to 2"), "{said}");
    }
}

/// A step that was submitted ahead: its token is one that the host gave.
#[test]
fn a_step_under_way_is_explained_too() {
    let (_folder, checkpoint) = bad_token();
    let mut model = load(&checkpoint, &Options::exact());
    model.step(&rows(0, 0, &[2, 9, 7]), Want::Nothing).unwrap();
    assert!(model.submit(&[Next { slot: 0, token: Some(BAD), draw: None }], &[]).unwrap());
    assert!(matches!(model.next_ids(), Err(Error::NotFinite(_))));
    let said = model.explain(0, &[2, 9, 7, BAD], 1).to_string();
    assert!(said.starts_with("embed (kernel embed, dense) made NaN or infinity at position 3"), "{said}");
}

/// What cannot be found again is said to be so.
#[test]
fn numbers_that_are_right_the_second_time_are_a_fault_of_the_device() {
    let checkpoint = Checkpoint::open(Source::Directory(golden("dense-gptq-desc-act"))).unwrap();
    let mut model = load(&checkpoint, &Options::exact());
    let said = model.explain(0, &[2, 9, 7], 1).to_string();
    assert!(said.contains("does not compute the same twice"), "{said}");
    assert_eq!(model.len(0), 0);
}

/// Reserved tokens now and then are an answer; many in a row are not.
#[test]
fn a_flood_of_reserved_tokens_ends_an_answer() {
    let checkpoint = Checkpoint::open(Source::Directory(golden("dense-gptq-desc-act"))).unwrap();
    let generator = |reserved: std::ops::Range<u32>| {
        Generator::new(load(&checkpoint, &Options::exact()), &[], &[]).with_reserved(reserved)
    };
    let request = Request { sampling: Sampling::GREEDY, max_tokens: Some(20) };
    let mut seen = 0;
    let mut count = |_: Option<u32>| {
        seen += 1;
        ControlFlow::Continue(())
    };
    let flood = generator(0..512).generate(0, &[2, 9, 7], &request, &mut count).unwrap_err();
    assert!(
        matches!(flood, Error::Run(_)) && flood.to_string().contains("the last 8 tokens are reserved ones"),
        "{flood}"
    );
    assert_eq!(seen, 7, "the last one is not shown");
    let clean = generator(512..600).generate(0, &[2, 9, 7], &request, &mut |_| ControlFlow::Continue(())).unwrap();
    // All but every eighth token of this answer are reserved.
    let spare: Vec<u32> = clean.ids.iter().copied().skip(7).step_by(8).collect();
    let reserved = (0..512).filter(|id| !spare.contains(id));
    let rare = Generator::new(load(&checkpoint, &Options::exact()), &[], &[]).with_reserved(reserved);
    let mut rare = rare;
    let again = rare.generate(0, &[2, 9, 7], &request, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(again.ids, clean.ids);
}
