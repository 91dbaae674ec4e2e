//! The plan of a model's memory, budgets, and what is said where it does not fit.

use std::path::Path;
use std::sync::Arc;

use lapidary::checkpoint::{Checkpoint, Projection, Source};
use lapidary::gpu::{Gpu, Tier};
use lapidary::model::KvDtype;
use lapidary::model::{Gemma4, Head, MemoryPlan, Options, Precision, Want};
use lapidary::parallel::{Parallel, Shares, Split};
use lapidary::quant::{Format, Grouped, Order, Shift};
use lapidary::testing::gpu::fault_injector;
use lapidary::{Bytes, Error, Result};

use super::device::open;
use super::fixtures::{Set, sets};
use super::steps::rows;

fn load(gpu: &Arc<Gpu>, checkpoint: &Checkpoint, options: &Options) -> Result<Gemma4> {
    Gemma4::load(gpu.clone(), checkpoint, options, &|_| ())
}

/// Formats of the cache, contexts, heads, slots, tiers, parts, ranks, budgets.
fn layouts(is_moe: bool) -> Vec<Options> {
    let fast = Options { precision: Precision::Fast, head: Head::Int8, ..Options::exact() };
    let tier = Some(Tier::Dot);
    let ranks = |shares: &str, split| Parallel { shares: shares.parse().unwrap(), split, ..Parallel::default() };
    let mut all = vec![
        Options::exact(),
        Options { tier, ..fast.clone() },
        Options { kv: Some(KvDtype::Int8), head: Head::Int4, context: Some(100), slots: 3, ..fast.clone() },
        Options { max_part_bytes: Some(60_000), chunk_rows: 40, ..Options::exact() },
        Options { parallel: ranks("5,3", Split::Tensor), tier, ..fast.clone() },
        Options { memory: Some(1 << 40), ..fast },
    ];
    if is_moe {
        all.push(Options { parallel: ranks("1,1,1", Split::Expert), ..Options::exact() });
    }
    all
}

/// Bytes that headers may have planned beside those that data asks for: zero points that are all alike, tables in order.
fn claims(checkpoint: &Checkpoint) -> u64 {
    let config = &checkpoint.config;
    let names = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"];
    let names = names.into_iter().chain(["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]);
    let mut infos = Vec::new();
    for l in 0..config.num_hidden_layers {
        let names = names.clone().map(|name| format!("layers.{l}.{name}"));
        infos.extend(names.filter(|name| checkpoint.has(name)).map(|name| checkpoint.matrix_info(&name).unwrap()));
        let experts = (0..config.num_experts).flat_map(|e| Projection::ALL.map(|p| (e, p)));
        infos.extend(experts.map(|(e, p)| checkpoint.expert_info(l, e, p).unwrap()));
    }
    // Each row's zero points are whole words, each table a word an input feature in whole chunks.
    let claim = |format: Format, n: usize, k: usize| match format {
        Format::Grouped(Grouped { bits, group, shift, order, .. }) => {
            let zeros = if shift == Shift::None { 0 } else { n * k.div_ceil(group).div_ceil(32 / bits as usize) };
            zeros + if order == Order::PerRow { k.next_multiple_of(32) } else { 0 }
        }
        Format::Dense(_) => 0,
    };
    let words: usize = infos.iter().map(|info| claim(info.format, info.out_features, info.in_features)).sum();
    4 * words as u64
}

/// Every byte that loading takes is planned, in every layout; what headers alone plan is the same, but for what only data
/// tells.
#[test]
fn the_plan_is_what_is_allocated() {
    let gpu = Arc::new(open());
    let own = gpu.allocated_bytes();
    for Set { name, checkpoint, .. } in sets() {
        let contents = checkpoint.contents().unwrap();
        for options in layouts(checkpoint.config.is_moe()) {
            let what = format!("{name}, {options:?}");
            let gpus = std::slice::from_ref(&gpu);
            let plan = MemoryPlan::with_contents(gpus, &checkpoint, &contents, &options).unwrap();
            let claimed = MemoryPlan::new(gpus, &checkpoint, &options).unwrap();
            let before = gpu.allocated_bytes();
            let model = load(&gpu, &checkpoint, &options).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(gpu.allocated_bytes() - before + own, plan.at_start(), "{what}: {plan:?}");
            assert_eq!((model.context(), model.chunk_rows()), (plan.context, plan.chunk_rows), "{what}");
            let parts =
                model.ranks().fold((0, 0), |sum, rank| (sum.0 + rank.memory.weights, sum.1 + rank.memory.kv_cache));
            assert_eq!(parts, (plan.devices[0].weights(), plan.devices[0].kv_cache_at_start), "{what}");
            let more = claimed.at_start().abs_diff(plan.at_start());
            let most = if options.parallel.shares.ranks() == 1 { claims(&checkpoint) } else { plan.at_start() / 10 };
            assert!(more <= most, "{what}: headers plan {more} bytes more, expected at most {most}");
        }
    }
}

/// Two devices are planned each on its own.
#[test]
fn devices_are_planned_one_by_one() {
    let set = sets().swap_remove(0);
    let parallel = Parallel { shares: Shares::equal(2).unwrap(), ..Parallel::default() };
    let options = Options { parallel, ..Options::exact() };
    let gpus = [Arc::new(open()), Arc::new(open())];
    let contents = set.checkpoint.contents().unwrap();
    let plan = MemoryPlan::with_contents(&gpus, &set.checkpoint, &contents, &options).unwrap();
    let model = Gemma4::load_on(gpus.to_vec(), &set.checkpoint, &options, &|_| ()).unwrap();
    let taken: Vec<u64> = gpus.iter().map(|gpu| gpu.allocated_bytes()).collect();
    assert_eq!(plan.devices.iter().map(|device| device.at_start()).collect::<Vec<_>>(), taken);
    assert_eq!(model.allocated_bytes(), plan.at_start());
}

fn refusal(result: Result<Gemma4>) -> String {
    match result {
        Err(Error::Memory(no_room)) => no_room.to_string(),
        other => panic!("expected no room, found {other:?}"),
    }
}

/// The number behind `word` in `text`.
fn number(text: &str, word: &str) -> Option<usize> {
    let rest = text.split_once(word)?.1.trim_start();
    rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
}

/// A budget holds to the byte, for as long as the model runs; what does not fit is refused with nothing taken, and what is
/// offered instead fits, and no larger context does.
#[test]
fn a_budget_is_kept() {
    let checkpoint = super::demo();
    let gpu = Arc::new(open());
    let gpus = std::slice::from_ref(&gpu);
    let options = Options { context: Some(5000), memory: Some(1), ..Options::exact() };
    let total = |options: &Options| MemoryPlan::new(gpus, &checkpoint, options).unwrap().devices[0].total();
    let all = total(&options);

    let budget = |bytes| Options { memory: Some(bytes), ..options.clone() };
    let (before, allocations) = (gpu.allocated_bytes(), fault_injector(&gpu).allocations());
    let message = refusal(load(&gpu, &checkpoint, &budget(all - 1)));
    assert_eq!((gpu.allocated_bytes(), fault_injector(&gpu).allocations()), (before, allocations), "{message}");
    for word in
        ["a budget of ", "the plan for a context of 5000 is ", "embedding ", "KV cache ", "or a KV cache in int8"]
    {
        assert!(message.contains(word), "{word:?} in {message}");
    }
    let context = number(&message, "what fits: a context of").unwrap();
    let with = |context| Options { context: Some(context), ..budget(all - 1) };
    assert!(total(&with(context)) < all && total(&with(context + 1)) >= all, "{context}");
    assert!(total(&Options { kv: Some(KvDtype::Int8), ..budget(all - 1) }) < all);

    let mut model = load(&gpu, &checkpoint, &budget(all)).unwrap();
    let taken = gpu.allocated_bytes();
    assert!(taken <= all, "{taken} of {all}");
    // Past what a cache without a budget starts with.
    let ids: Vec<u32> = (0..2100).map(|i| 30 + i * 37 % 4000).collect();
    for part in ids.chunks(model.chunk_rows()) {
        model.step(&rows(0, model.len(0), part), Want::Nothing).unwrap();
    }
    assert_eq!(gpu.allocated_bytes(), taken);
}

/// Where no change alone is enough, several are offered that are; where nothing is, the least that is needed.
#[test]
fn changes_that_fit_together() {
    let checkpoint = super::demo();
    let gpu = Arc::new(open());
    let gpus = std::slice::from_ref(&gpu);
    let options = Options { context: Some(300), chunk_rows: 16, memory: Some(1), ..Options::exact() };
    let total = |options: &Options| MemoryPlan::new(gpus, &checkpoint, options).unwrap().devices[0].total();
    let int8 = Options { kv: Some(KvDtype::Int8), ..options.clone() };
    let both = Options { head: Head::Int4, ..int8.clone() };
    let budget = |bytes| load(&gpu, &checkpoint, &Options { memory: Some(bytes), ..options.clone() });
    let message = refusal(budget(total(&both)));
    assert!(message.ends_with("; what fits: a KV cache in int8 and a head in int4"), "{message}");
    let message = refusal(budget(1 << 20));
    let least = Bytes(total(&Options { context: Some(256), host_experts: 8, ..both }));
    let changes =
        "a context of 256 and a KV cache in int8 and a head in int4 and the experts of 8 layers in host memory";
    let expected = format!("; nothing fits: the least, with {changes}, is {least}");
    assert!(message.ends_with(&expected), "{message}, expected {expected}");
}

/// A plan that does not fit is refused before weights are read: here they are gone.
#[test]
fn nothing_is_read_for_what_does_not_fit() {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/dense-gptq-desc-act");
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(from.join(name), folder.path().join(name)).unwrap();
    }
    let checkpoint = Checkpoint::open(Source::Directory(folder.path().into())).unwrap();
    let file = std::fs::File::options().write(true).open(folder.path().join("model.safetensors")).unwrap();
    file.set_len(8).unwrap();
    let gpu = Arc::new(open());
    let load = |memory| load(&gpu, &checkpoint, &Options { memory: Some(memory), ..Options::exact() });
    assert!(refusal(load(1 << 20)).starts_with("a budget of 1.0 MiB, but the plan for a context of "));
    assert!(!matches!(load(1 << 40), Ok(_) | Err(Error::Memory(_))), "the weights are gone");
}

/// An allocation that finds no room says what was planned, and what would fit in what there was.
#[test]
fn a_failed_allocation_comes_with_advice() {
    let checkpoint = super::demo();
    let options = Options { slots: 2, memory: Some(1 << 40), ..Options::exact() };
    let gpu = Arc::new(open());
    let first = fault_injector(&gpu).allocations();
    load(&gpu, &checkpoint, &options).unwrap();
    let count = fault_injector(&gpu).allocations() - first;
    // The first buffer finds no room; the last ones are found to be too many once there is what a smaller context needs,
    // unless many threads need more than that to load with.
    let least = "nothing fits: the least, with ";
    let is_small = std::thread::available_parallelism().is_ok_and(|threads| threads.get() <= 4);
    for (number, offer) in [(1, least), (count - 20, if is_small { "what fits: a context of " } else { least })] {
        let gpu = Arc::new(open());
        fault_injector(&gpu).fail_allocation(number);
        let message = refusal(load(&gpu, &checkpoint, &options));
        assert!(
            message.contains(": no room for ") && message.contains("; the plan for a context of 8192 is "),
            "{message}"
        );
        assert!(message.contains(&format!(" that were found, {offer}")), "{number}: {message}");
    }
}
