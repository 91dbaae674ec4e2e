//! What callers can ask for and not get: each is an error that says what was found and what was expected, and the model, the
//! generator and the checkpoint go on as if nothing had been asked.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "common/device.rs"]
mod device;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use device::device;
use lapidary::checkpoint::{Checkpoint, Projection, Source};
use lapidary::engine::{Generator, Request, Sampler, Sampling};
use lapidary::error::Unfit;
use lapidary::gemma4::{Config, Cut};
use lapidary::gpu::Gpu;
use lapidary::model::{Gemma4, KvDtype, Next, Options, Row, StepShape, Want};
use lapidary::parallel::Shares;
use lapidary::product::{
    Beside, Choice, Gated, Groups, Input, Planner, Product, Readback, Recorder, Rows, Tensor, Weights, plan,
};
use lapidary::quant::{
    Codebook, DenseMatrix, Dtype, GroupIndex, Grouped, Matrix, Order, PackedMatrix, Shift, StoredGroups, Values,
};
use lapidary::testing::checkpoint::random_rows;
use lapidary::testing::gpu::fault_injector;
use lapidary::testing::kernels::choice::sample::Draw;
use lapidary::{Error, Result};

fn checkpoint(folder: &str) -> Checkpoint {
    Checkpoint::open(Source::Directory(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))).unwrap()
}

fn dense() -> Checkpoint {
    checkpoint("tests/golden/dense-gptq-desc-act")
}

fn load(options: &Options) -> Result<Gemma4> {
    Gemma4::load(device().clone(), &dense(), options, &|_| ())
}

/// The code of what was refused, which must be a request, with all of `words` in its message.
#[track_caller]
fn refused<T>(what: Result<T>, code: &str, words: &[&str]) {
    let Err(error) = what else { panic!("expected {code}, found a result") };
    assert!(matches!(error, Error::Usage(_)), "{error:?}");
    assert_eq!((error.code(), error.exit_code()), (code, 2), "{error}");
    let text = error.to_string();
    assert!(words.iter().all(|word| text.contains(word)), "{words:?} in {text}");
}

fn row(slot: usize, position: usize, token: u32) -> Row {
    Row { slot, position, token }
}

#[test]
fn steps() {
    let mut model = load(&Options { slots: 2, context: Some(40), chunk_rows: 16, ..Options::exact() }).unwrap();
    let mut step = |rows: &[Row]| model.step(rows, Want::Nothing);
    refused(step(&[]), "E-ROWS", &["a step of 0 rows", "expected 1 to 16"]);
    let many: Vec<Row> = (0..17).map(|i| row(0, i, 5)).collect();
    refused(step(&many), "E-ROWS", &["a step of 17 rows"]);
    refused(step(&[row(2, 0, 5)]), "E-SLOT", &["slot 2 of 2"]);
    refused(step(&[row(usize::MAX, 0, 5)]), "E-SLOT", &[]);
    refused(step(&[row(0, 40, 5)]), "E-POSITION", &["position 40", "context of 40"]);
    refused(step(&[row(0, usize::MAX, 5)]), "E-POSITION", &[]);
    refused(step(&[row(0, 0, u32::MAX)]), "E-TOKEN", &["beyond the vocabulary"]);
    refused(step(&[row(0, 1, 5)]), "E-ROWS", &["position 1 of slot 0, expected position 0"]);
    refused(step(&[row(0, 0, 5), row(0, 2, 5)]), "E-ROWS", &["position 2 of slot 0, expected position 1"]);
    refused(step(&[row(0, 0, 5), row(1, 0, 5), row(0, 1, 5)]), "E-ROWS", &["rows of slot 0 are apart"]);
    for want in [Want::Greedy(&[0, 2]), Want::Logits(&[2])] {
        refused(model.step(&[row(0, 0, 5), row(0, 1, 6)], want), "E-ROWS", &["row 2 of a step of 2 rows"]);
    }
    // Nothing was run by any of them.
    assert!(model.is_empty());
    assert_eq!(model.step(&[row(0, 0, 5), row(0, 1, 6)], Want::Greedy(&[1])).unwrap().ids.len(), 1);

    assert_eq!((model.len(0), model.len(2), model.len(usize::MAX)), (2, 0, 0));
    assert_eq!((model.truncate(2, 1), model.truncate(0, 1)), (0, 1));
    refused(model.mark(2), "E-SLOT", &["slot 2 of 2"]);
    for (ids, last) in [(&[5u32, 6][..], 0), (&[5, 6], 3), (&[], 0), (&[], 1)] {
        assert!(model.explain(0, ids, last).to_string().contains(&format!("a step of {last} rows")), "{ids:?} {last}");
    }
    assert!(model.explain(7, &[5], 1).to_string().contains("slot 7 of 2"));
    let most = usize::MAX;
    let traffic = model.traffic(StepShape { rows: most, slots: most, positions: most, logits: most });
    assert!(traffic.iter().all(|one| one.operations > 1e18), "{traffic:?}");
}

#[test]
fn steps_ahead() {
    let mut model = load(&Options { slots: 2, context: Some(40), ..Options::exact() }).unwrap();
    let next = |slot, token| Next { slot, token, draw: None };
    refused(model.next_ids(), "E-AHEAD", &["none is under way"]);
    refused(model.submit(&[], &[]), "E-AHEAD", &["a step of 0 rows"]);
    refused(model.submit(&[next(0, Some(5)); 17], &[]), "E-AHEAD", &["a step of 17 rows"]);
    refused(model.submit(&[next(0, None)], &[]), "E-AHEAD", &["no step submitted before", "slot 0"]);
    refused(model.submit(&[next(2, Some(5))], &[]), "E-SLOT", &["slot 2 of 2"]);
    refused(model.submit(&[next(0, Some(5)); 2], &[]), "E-ROWS", &["slot 0"]);
    refused(model.submit(&[next(0, Some(u32::MAX))], &[]), "E-TOKEN", &[]);
    refused(model.submit(&[next(0, Some(5))], &[7; 65]), "E-AHEAD", &["65 suppressed ids", "0 to 64"]);
    for top_k in [0, 129] {
        let draw = Some(Draw { top_k, ..Draw::GREEDY });
        refused(model.submit(&[Next { draw, ..next(0, Some(5)) }], &[]), "E-AHEAD", &["as top-k", "1 to 128"]);
    }
    assert!(model.is_empty());
    assert!(model.submit(&[next(0, Some(5))], &[]).unwrap());
    assert_eq!(model.next_ids().unwrap().len(), 1);
    refused(model.next_ids(), "E-AHEAD", &[]);
}

#[test]
fn generators() {
    let checkpoint = dense();
    let model = load(&Options { context: Some(40), ..Options::exact() }).unwrap();
    let mut generator = Generator::new(model, checkpoint.stop_ids(), &[]);
    let request = Request { sampling: Sampling::GREEDY, max_tokens: Some(2) };
    let go_on = &mut |_| ControlFlow::Continue(());
    refused(generator.generate(1, &[5], &request, go_on), "E-SLOT", &["slot 1 of 1"]);
    refused(generator.generate(0, &[], &request, go_on), "E-EMPTY-PROMPT", &[]);
    refused(generator.generate(0, &[5; 40], &request, go_on), "E-PROMPT-LENGTH", &["40 tokens", "at most 39"]);
    refused(generator.generate(0, &[u32::MAX], &request, go_on), "E-TOKEN", &[]);
    let hot = Request { sampling: Sampling { temperature: 900.0, ..Sampling::GREEDY }, ..request };
    refused(generator.generate(0, &[5], &hot, go_on), "E-SAMPLING", &["temperature 900: expected"]);
    refused(generator.logits(1, &[5]), "E-SLOT", &[]);
    refused(generator.logits(0, &[]), "E-PROMPT-LENGTH", &["found 0 token ids", "at least 1"]);
    refused(generator.logits(0, &[5; 41]), "E-PROMPT-LENGTH", &["found 41 token ids", "at most 40"]);
    assert!(generator.held(1).is_empty() && generator.held(0).is_empty());
    generator.forget(1);
    assert_eq!(generator.generate(0, &[5], &request, go_on).unwrap().ids.len(), 2);
    let wide = Sampler::new(Sampling { temperature: 1.0, top_k: 0, ..Sampling::GREEDY }).unwrap();
    refused(wide.draw(), "E-AHEAD", &["0 as top-k"]);
}

/// A model that is loaded again with fewer slots ends the answer in one that there is no more.
#[test]
fn generators_that_recover() {
    let gpu = Arc::new(device::open());
    let loaded = |gpu: Arc<Gpu>, slots| {
        Gemma4::load(gpu, &dense(), &Options { slots, context: Some(40), ..Options::exact() }, &|_| ())
    };
    let model = loaded(gpu.clone(), 2).unwrap();
    let mut generator = Generator::new(model, &[], &[]).recovering(move |_| loaded(Arc::new(device::open()), 1));
    fault_injector(&gpu).destroy();
    let request = Request { sampling: Sampling::GREEDY, max_tokens: Some(2) };
    let answer = generator.generate(1, &[5], &request, &mut |_| ControlFlow::Continue(()));
    refused(answer, "E-SLOT", &["slot 1 of 1"]);
}

#[test]
fn options() {
    refused(load(&Options { context: Some(0), ..Options::exact() }), "E-CONTEXT", &["a context of 0"]);
    refused(load(&Options { context: Some(usize::MAX), ..Options::exact() }), "E-CONTEXT", &["the model's is"]);
    refused(load(&Options { slots: 0, ..Options::exact() }), "E-SLOT", &["0 slots"]);
    refused(load(&Options { host_experts: 1, ..Options::exact() }), "E-HOST-EXPERTS", &["no experts"]);
    let none: Vec<Arc<Gpu>> = Vec::new();
    let loaded = Gemma4::load_on(none, &dense(), &Options::exact(), &|_| ());
    refused(loaded, "E-DEVICES", &["0 adapters for 1 rank, expected at least one"]);
    let two = vec![device().clone(), device().clone()];
    refused(Gemma4::load_on(two, &dense(), &Options::exact(), &|_| ()), "E-DEVICES", &["at most one"]);
    refused(Shares::equal(0), "E-RANKS", &["0 ranks"]);
    refused(Shares::equal(1000), "E-RANKS", &["1000 ranks"]);
    refused(Shares::equal(usize::MAX), "E-RANKS", &["expected 1 to 8"]);
    refused("0,1".parse::<Shares>(), "E-RANKS", &["rank 0 has 0"]);
    refused("a".parse::<Shares>(), "E-VALUE", &["shares: found \"a\""]);
}

/// A matrix of zeros, two and a half groups wide.
fn packed() -> PackedMatrix {
    PackedMatrix {
        out_features: 8,
        in_features: 80,
        format: Grouped::symmetric(4, 32, Dtype::F16),
        codes: vec![0; 8 * 12],
        groups: 3,
        scales: vec![0; 8 * 2],
        zeros: None,
        addends: Vec::new(),
        group_index: GroupIndex::Sequential,
    }
}

#[test]
fn matrices() {
    let upload = |change: fn(&mut PackedMatrix)| {
        let mut matrix = packed();
        change(&mut matrix);
        Weights::upload(device(), "w", &Matrix::Packed(matrix))
    };
    assert!(upload(|_| ()).is_ok());
    refused(upload(|m| m.out_features = 0), "E-SHAPE", &["w: output features: found 0"]);
    refused(upload(|m| m.in_features = 0), "E-SHAPE", &["w: input features: found 0"]);
    refused(upload(|m| m.in_features = usize::MAX), "E-SHAPE", &["w: input features"]);
    refused(upload(|m| m.codes.clear()), "E-SHAPE", &["words of codes: found 0, expected 96"]);
    refused(upload(|m| m.scales.push(0)), "E-SHAPE", &["words of scales: found 17, expected 16"]);
    refused(upload(|m| m.zeros = Some(vec![0; 8])), "E-SHAPE", &["zero points: found some, expected none"]);
    refused(upload(|m| m.format.group = 0), "E-SHAPE", &["input features of a group"]);
    let table = |m: &mut PackedMatrix| m.group_index = GroupIndex::PerRow(vec![0; 80]);
    refused(upload(table), "E-SHAPE", &["table of groups: found some, expected none"]);
}

/// Whatever stands in a matrix's fields: it is read, or refused by what is wrong of it.
#[test]
fn readings() {
    let values = |n, k, count| DenseMatrix::from_f32(n, k, &vec![1.0; count]);
    refused(values(2, 3, 7), "E-SHAPE", &["dense matrix: values: found 7, expected 6"]);
    refused(values(2, 0, 0), "E-SHAPE", &["input features: found 0"]);
    refused(values(usize::MAX, 2, 1), "E-SHAPE", &["values: found 1, expected 18446744073709551615 x 2"]);
    let bytes = |n, k, dtype, count| DenseMatrix::from_bytes(n, k, dtype, &vec![0; count]);
    refused(bytes(2, 3, Dtype::BF16, 13), "E-SHAPE", &["bytes: found 13, expected 12"]);
    refused(bytes(2, usize::MAX, Dtype::F32, 8), "E-SHAPE", &["bytes: found 8"]);

    let dense = values(2, 3, 6).unwrap();
    let (mut out, mut short) = ([0.0; 80], [0.0; 2]);
    dense.row(1, &mut out).unwrap();
    assert_eq!(out[..4], [1.0, 1.0, 1.0, 0.0]);
    refused(dense.row(2, &mut out), "E-RANGE", &["matrix: rows 2..3 were asked for, but there are 2"]);
    refused(dense.row(usize::MAX, &mut out), "E-RANGE", &[]);
    refused(dense.row(0, &mut short), "E-SHAPE", &["room for a row: found 2, expected at least 3"]);
    let wrong = |change: fn(&mut DenseMatrix)| {
        let mut matrix = dense.clone();
        change(&mut matrix);
        matrix
    };
    let found = wrong(|m| m.words.clear());
    for refusal in [
        found.row(0, &mut out),
        found.column_shard(0..1).map(|_| ()),
        found.row_shard(0..1).map(|_| ()),
        Matrix::Dense(found.clone()).to_dense().map(|_| ()),
    ] {
        refused(refusal, "E-SHAPE", &["matrix: words: found 0, expected 64"]);
    }
    refused(wrong(|m| m.in_features = usize::MAX).row(0, &mut out), "E-SHAPE", &["input features"]);
    refused(wrong(|m| m.out_features = 0).column_shard(0..0), "E-SHAPE", &["output features: found 0"]);

    packed().row(7, &mut out).unwrap();
    let read = |change: fn(&mut PackedMatrix)| {
        let mut matrix = packed();
        change(&mut matrix);
        let row = matrix.row(0, &mut [0.0; 80]);
        let cut = matrix.row_shard(0..8, StoredGroups::Touched).map(|_| ());
        let whole = Matrix::Packed(matrix).to_dense().map(|_| ());
        let said = [&row, &cut, &whole].map(|result| result.as_ref().err().map(ToString::to_string));
        assert!(said.iter().all(|text| *text == said[0]), "{said:?}");
        row
    };
    assert!(read(|_| ()).is_ok());
    refused(read(|m| m.format.bits = 0), "E-SHAPE", &["bits of a code: found 0, expected 4 or 8"]);
    refused(read(|m| m.format.bits = 3), "E-SHAPE", &["bits of a code: found 3"]);
    refused(read(|m| m.format.group = 0), "E-SHAPE", &["input features of a group: found 0"]);
    refused(read(|m| m.format.group = 16), "E-SHAPE", &["groups that are stored: found 0..3, expected 0..5"]);
    refused(read(|m| m.groups = usize::MAX), "E-SHAPE", &["groups: found"]);
    refused(read(|m| m.codes.truncate(95)), "E-SHAPE", &["words of codes: found 95, expected 96"]);
    refused(read(|m| m.scales.clear()), "E-SHAPE", &["words of scales: found 0, expected 16"]);
    refused(read(|m| m.format.shift = Shift::Zero), "E-SHAPE", &["zero points: found none, expected some"]);
    refused(read(|m| m.addends.push(0)), "E-SHAPE", &["words of addends: found 1, expected 0"]);
    let addends = |m: &mut PackedMatrix| m.format.shift = Shift::Addend(Dtype::F16);
    refused(read(addends), "E-SHAPE", &["words of addends: found 0, expected 16"]);
    let table = |m: &mut PackedMatrix| {
        (m.format.order, m.group_index) = (Order::PerRow, GroupIndex::PerRow(vec![3; 80]));
    };
    refused(read(table), "E-SHAPE", &["group in the table: found 3, expected one of 0..3"]);
    let codebook = |m: &mut PackedMatrix| {
        (m.format.bits, m.format.values) = (8, Values::Table(Codebook::new([0.0; 16])));
    };
    refused(read(codebook), "E-SHAPE", &["bits of a code: found 8, expected 4"]);
    let mut shard = packed().row_shard(40..80, StoredGroups::Touched).unwrap();
    shard.row(0, &mut out).unwrap();
    shard.group_index.first_row = 20;
    refused(shard.row(0, &mut out), "E-SHAPE", &["groups that are stored: found 1..3, expected 0..2"]);
    shard.group_index.first_row = usize::MAX;
    refused(shard.row(0, &mut out), "E-SHAPE", &["first row"]);

    // Sizes that no memory has are as large as a number can be, and a group of nothing makes no groups.
    assert_eq!(PackedMatrix::code_words(usize::MAX, 8), usize::MAX / 4 + 1);
    assert_eq!(PackedMatrix::zero_words(usize::MAX, 8), usize::MAX.div_ceil(32));
    assert!(DenseMatrix::row_words(usize::MAX, Dtype::F32) > usize::MAX / 8);
    assert_eq!(Grouped::symmetric(4, 0, Dtype::F16).groups(80), 0);
    for dtype in [KvDtype::F32, KvDtype::F16, KvDtype::Int8] {
        assert!(dtype.head_words(usize::MAX) >= usize::MAX / 4, "{dtype:?}");
    }
    assert_eq!(KvDtype::Int8.head_words(100), 32 + 4);
}

#[test]
fn products() {
    let gpu = device();
    let weights = Weights::upload(gpu, "w", &Matrix::Packed(packed())).unwrap();
    let planner = Planner::new(gpu);
    let tensor = |rows, width| Tensor::new(gpu, "t", rows, width).unwrap();
    let planned = |rows, x: &Tensor, y: &Tensor| plan(&planner, "p", &Product::new(&weights, rows, x, y));
    let (x, y) = (tensor(2, 80), tensor(2, 8));
    let ids = Tensor::compact(gpu, "ids", 1, 2).unwrap();
    let experts = |ids, repeat| Rows::Experts { ids, repeat, several: false };
    for rows in [Rows::Few, Rows::Two, Rows::Several(&ids), Rows::Many(&ids), experts(&ids, 2)] {
        assert!(planned(rows, &x, &y).is_ok(), "{rows:?}");
        refused(planned(rows, &tensor(2, 64), &y), "E-SHAPE", &["p: width of x: found 64, expected 80"]);
        refused(planned(rows, &x, &tensor(2, 9)), "E-SHAPE", &["p: width of y: found 9, expected 8"]);
        let compact = Tensor::compact(gpu, "x", 2, 80).unwrap();
        refused(planned(rows, &compact, &y), "E-SHAPE", &["p: stride of x: found 80", "whole chunks of 32"]);
        refused(planned(rows, &tensor(0, 80), &y), "E-SHAPE", &["p: rows of x: found 0"]);
    }
    refused(planned(experts(&ids, 0), &x, &y), "E-SHAPE", &["p: rows of y for one of x: found 0"]);
    let (sparse, wide) = (tensor(1, 2), Tensor { width: 5000, stride: 5000, ..ids.clone() });
    refused(planned(experts(&sparse, 1), &x, &y), "E-SHAPE", &["p: stride of the experts' ids"]);
    refused(planned(experts(&wide, 1), &x, &y), "E-SHAPE", &["p: experts of a token: found 5000"]);
    let mut none = weights.clone();
    none.n_matrices = usize::MAX;
    let of_none = Product::new(&none, Rows::Few, &x, &y);
    refused(plan(&planner, "p", &of_none), "E-SHAPE", &["p: matrices: found"]);
    let rounded = Input { x: &x, rounded: Some(&y) };
    let of_rounded = Product::new(&weights, Rows::Few, rounded, &y);
    refused(plan(&planner, "p", &of_rounded), "E-SHAPE", &["p: width of what is rounded: found 8, expected 36"]);
    let (half, both) = (tensor(2, 4), Tensor { stride: 4, ..tensor(2, 8) });
    let gated = |gate_up| Product::gated(&weights, Rows::Many(&ids), &x, Gated { gate_up, y: &half, rounded: None });
    refused(plan(&planner, "p", &gated(None)), "E-SHAPE", &["p: width of gate and up: found no tensor"]);
    refused(plan(&planner, "p", &gated(Some(&both))), "E-SHAPE", &["p: stride of gate and up: found 4, expected 8"]);

    refused(Tensor::from_rows(gpu, "t", 3, &[0.0; 4]), "E-SHAPE", &["t: values: found 4, expected whole rows of 3"]);
    refused(Tensor::from_rows(gpu, "t", 0, &[]), "E-SHAPE", &["t: values"]);
    refused(x.write_rows(gpu, &[0.0; 240]), "E-SHAPE", &["found 240, expected whole rows of 80, at most 2"]);
    let mut recorder = Recorder::new(gpu);
    refused(recorder.read_back(&y, 3), "E-SHAPE", &["rows: found 3, expected at most 2"]);
    let readback = recorder.read_back(&y, 1).unwrap();
    recorder.submit();
    refused(readback.read::<f32>(gpu, 2), "E-SHAPE", &["rows: found 2, expected at most 1"]);
    refused(readback.read::<u16>(gpu, 1), "E-SHAPE", &["bytes of a value: found 2, expected 4"]);
    assert_eq!(readback.read::<f32>(gpu, 1).unwrap(), [0.0; 8]);
    let overlapping = Tensor { width: 64, stride: 32, ..y.clone() };
    refused(Readback::new(gpu, &overlapping, 1), "E-SHAPE", &["width of the tensor: found 64", "its stride, 32"]);
    let sparse = Tensor { stride: usize::MAX / 8, ..x.clone() };
    refused(sparse.write_rows(gpu, &[0.0; 160]), "E-SHAPE", &["bytes of these rows"]);
    refused(gpu.write(&y.buffer, 252, &[0u32; 2]), "E-SHAPE", &["found 8 from byte 252 on", "its 256 bytes"]);
    refused(gpu.write(&y.buffer, u64::MAX, &[0u32]), "E-SHAPE", &["bytes to write"]);
    refused(gpu.write(&y.buffer, 0, &[0u8; 3]), "E-SHAPE", &["whole words"]);
    for error in [
        gpu.storage("huge", u64::MAX).map(|_| ()),
        Groups::new(gpu, usize::MAX, 2, usize::MAX).map(|_| ()),
        Readback::new(gpu, &y, usize::MAX).map(|_| ()),
    ] {
        assert!(matches!(error, Err(Error::Memory(_))), "{error:?}");
    }
    // None of it was a fault of the device.
    gpu.check().unwrap();
}

#[test]
fn choices() {
    let gpu = device();
    let weights = Weights::upload(gpu, "w", &Matrix::Packed(packed())).unwrap();
    let planner = Planner::new(gpu);
    let (x, y) = (Tensor::new(gpu, "x", 2, 80).unwrap(), Tensor::new(gpu, "y", 2, 8).unwrap());
    let compact = |width| Tensor::compact(gpu, "c", 2, width).unwrap();
    let logits = Tensor::new(gpu, "logits", 2, 8).unwrap();
    let tensors = [compact(8), compact(2), compact(2)];
    let chosen = |logits: &Tensor, [scale, ids, weights_of]: [&Tensor; 3]| {
        let choice = Choice { logits, per_expert_scale: scale, ids, weights: weights_of };
        let beside = Beside::Choice { label: "router", choice };
        plan(&planner, "p", &Product::new(&weights, Rows::Few, &x, &y).beside(beside))
    };
    let [scale, ids, factors] = tensors.each_ref();
    assert!(chosen(&logits, [scale, ids, factors]).is_ok());
    let wide = Tensor { width: 1025, ..logits.clone() };
    refused(chosen(&wide, [scale, ids, factors]), "E-SHAPE", &["router: experts: found 1025, expected 1 to 1024"]);
    refused(chosen(&logits, [scale, &compact(9), factors]), "E-SHAPE", &["experts of a token: found 9"]);
    refused(chosen(&logits, [&compact(7), ids, factors]), "E-SHAPE", &["factors of experts: found 7, expected 8"]);
    refused(chosen(&logits, [scale, &x, factors]), "E-SHAPE", &["experts of a token: found 80"]);
    refused(chosen(&logits, [scale, ids, &y]), "E-SHAPE", &["stride of the experts' weights: found 32"]);
    let odd = Tensor { stride: 9, ..logits.clone() };
    refused(chosen(&odd, [scale, ids, factors]), "E-SHAPE", &["stride of the logits: found 9"]);
}

/// A device that only counts has nothing to read back.
#[test]
fn imagined_devices() {
    let gpu = Gpu::imagined().unwrap();
    let tensor = Tensor::new(&gpu, "t", 1, 32).unwrap();
    let read = Recorder::new(&gpu).read_back(&tensor, 1);
    assert!(matches!(&read, Err(Error::Device(Unfit::OnlyCounts { .. }))), "{read:?}");
}

/// The fields of a configuration are public: a model is made of no other than what a file could say.
#[test]
fn configurations() {
    let made = |change: fn(&mut Config)| {
        let mut config = Config::preset("e2b", Cut { layers: Some(16), ..Cut::default() }).unwrap();
        change(&mut config);
        config.parameter_counts().total();
        Gemma4::synthetic(Gpu::imagined().unwrap(), config, &Options::exact(), &|_| ())
    };
    refused(made(|c| c.layers.clear()), "E-SHAPE", &["configuration: layers: found 0, expected 16"]);
    refused(made(|c| c.num_hidden_layers = usize::MAX), "E-SHAPE", &["layers: found 16"]);
    refused(made(|c| c.hidden_size = usize::MAX), "E-SHAPE", &["hidden_size: found", "1 to 16777216"]);
    refused(made(|c| c.num_attention_heads = 0), "E-SHAPE", &["num_attention_heads: found 0"]);
    refused(made(|c| c.num_experts = 4), "E-SHAPE", &["top_k_experts: found 0, expected 1 to 4"]);
    refused(made(|c| c.layers[3].head_dim = 0), "E-SHAPE", &["head_dim of a layer: found 0"]);
    refused(made(|c| c.layers[3].num_key_value_heads = 3), "E-SHAPE", &["found 3, expected a divisor of 8"]);
    refused(made(|c| c.layers[3].rope.rotated_pairs = usize::MAX), "E-SHAPE", &["rotated pairs of a layer"]);
    refused(
        made(|c| c.layers[15].kv_source = Some(15)),
        "E-SHAPE",
        &["found 15, expected an earlier layer like layer 15"],
    );
}

#[test]
fn presets() {
    refused(Config::preset("gemma", Cut::default()), "E-PRESET", &["found no model \"gemma\"", "26b-a4b"]);
    let cut = |cut| Config::preset("e2b", cut);
    refused(cut(Cut { layers: Some(0), ..Cut::default() }), "E-PRESET-SIZE", &["0 layers of e2b"]);
    refused(cut(Cut { layers: Some(1000), ..Cut::default() }), "E-PRESET-SIZE", &["1000 layers of e2b"]);
    refused(cut(Cut { experts: Some(8), ..Cut::default() }), "E-PRESET-SIZE", &["e2b has no experts"]);
}

#[test]
fn tensors() {
    let dense = dense();
    for name in ["", "norm.weight", "layers.99.mlp.down_proj", "layers.0.mlp.down_proj.weight"] {
        let words = [format!("no matrix {name:?} in this model")];
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        refused(dense.matrix_info(name), "E-TENSOR", &words);
        refused(dense.load(name), "E-TENSOR", &words);
        refused(dense.load_rows(name, 0..1), "E-TENSOR", &words);
        refused(dense.row_reader(name), "E-TENSOR", &words);
        refused(dense.claimed_contents().matrix(name), "E-TENSOR", &words);
    }
    refused(dense.vector("layers.0.mlp.down_proj"), "E-TENSOR", &["no vector \"layers.0.mlp.down_proj\""]);
    refused(dense.expert(0, 0, Projection::Down), "E-TENSOR", &["expert 0 of layer 0", "has 0 experts"]);
    let name = "layers.0.mlp.down_proj";
    let rows = dense.matrix_info(name).unwrap().out_features;
    assert!(dense.load_rows(name, 0..rows).is_ok());
    refused(dense.load_rows(name, 0..rows + 1), "E-RANGE", &[name, &format!("there are {rows}")]);
    refused(dense.load_rows(name, usize::MAX..usize::MAX), "E-RANGE", &[]);
    #[expect(clippy::reversed_empty_ranges, reason = "it is refused")]
    let backwards = 3..2;
    refused(dense.load_rows(name, backwards), "E-RANGE", &["rows 3..2"]);

    let moe = checkpoint("tests/golden/moe-autoround-sym");
    let (layers, experts) = (moe.config.num_hidden_layers, moe.config.num_experts);
    assert!(moe.expert_info(layers - 1, experts - 1, Projection::Up).is_ok());
    for (layer, expert) in [(layers, 0), (0, experts), (usize::MAX, usize::MAX)] {
        refused(
            moe.expert_info(layer, expert, Projection::Up),
            "E-TENSOR",
            &[&format!("expert {expert} of layer {layer}")],
        );
        refused(
            moe.expert(layer, expert, Projection::Up),
            "E-TENSOR",
            &[&format!("{experts} experts in {layers} layers")],
        );
    }
    let reader = random_rows(3, 8);
    assert_eq!(reader.read(2).unwrap().len(), 8);
    refused(reader.read(3), "E-RANGE", &["there are 3"]);
    refused(reader.read(usize::MAX), "E-RANGE", &[]);
}
