//! A tensor that is added to the table of tensors is in everything that iterates it.

use std::path::Path;
use std::sync::{Arc, Mutex};

use lapidary::checkpoint::Checkpoint;
use lapidary::gemma4::Role;
use lapidary::gpu::Gpu;
use lapidary::model::{Gemma4, MemoryPlan, Options, Progress, StepShape, Traffic};
use lapidary::parallel::{Parallel, Split};
use lapidary::quant::{Matrix, PackedMatrix};
use lapidary::testing::reference::model::Model;
use lapidary::testing::table::{self, CutBy, Entry, Place, Shape, SizeOf, When};

use super::device::open;

const LAYERS: usize = 6;
const EXPERTS: usize = 16;
/// `[output features, input features]` of the made-up matrices of a layer and of an expert, values of the vector.
const MATRIX: [usize; 2] = [80, 96];
const EXPERT: [usize; 2] = [48, 96];
const VECTOR: usize = 24;

/// A matrix of each layer that ranks cut like the MLP, one of each expert, a vector of each layer.
fn more() -> [Entry; 3] {
    [
        Entry::of_layer("extra.wide_proj", Role::Mlp, Shape::Matrix(SizeOf::Mlp, SizeOf::Hidden)).cut(CutBy::Outputs),
        Entry::of_experts("experts.extra_proj", Shape::Matrix(SizeOf::Expert, SizeOf::Hidden)).cut(CutBy::Outputs),
        Entry::of_layer("extra.scale", Role::Norms, Shape::Vector(SizeOf::Fixed(VECTOR))),
    ]
}

fn config_json() -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/moe-autoround-sym/config.json");
    std::fs::read(file).unwrap()
}

/// A checkpoint with the made-up tensors, as the writer makes it.
struct MadeUp {
    folder: tempfile::TempDir,
    checkpoint: Checkpoint,
}

impl MadeUp {
    fn new(more: &[Entry]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        table::write(folder.path(), &config_json(), more).unwrap();
        let checkpoint = table::open(folder.path(), more).unwrap_or_else(|e| panic!("{e}"));
        MadeUp { folder, checkpoint }
    }
}

fn packed(matrix: Matrix) -> PackedMatrix {
    match matrix {
        Matrix::Packed(matrix) => matrix,
        other => panic!("int4, found {other:?}"),
    }
}

fn wide(checkpoint: &Checkpoint, l: usize) -> PackedMatrix {
    packed(checkpoint.load(&format!("layers.{l}.extra.wide_proj")).unwrap())
}

/// Bytes of an int4 matrix in one group on a device: rows of codes, a word with the scale.
fn matrix_bytes([n, k]: [usize; 2]) -> u64 {
    4 * (n * (k.next_multiple_of(32) / 8 + 1)) as u64
}

/// Writer and resolver: the files hold it, it is found under its name, and missed by name where it is not there.
#[test]
fn files_have_it_and_are_asked_for_it() {
    let (plain, made_up) = (MadeUp::new(&[]), MadeUp::new(&more()));
    let index = std::fs::read_to_string(made_up.folder.path().join("model.safetensors.index.json")).unwrap();
    let names = ["layers.5.extra.wide_proj.qweight", "layers.0.experts.15.extra_proj.scales", "layers.3.extra.scale"];
    for name in names {
        assert!(index.contains(&format!("\"model.language_model.{name}\"")), "{name}");
    }
    let (found, without) = (made_up.checkpoint.groups(), plain.checkpoint.groups());
    let parameters = |groups: &[lapidary::checkpoint::TensorGroup], role| -> u64 {
        groups.iter().filter(|group| group.role == role).map(|group| group.parameters).sum()
    };
    for (role, count) in [
        (Role::Mlp, LAYERS * MATRIX[0] * MATRIX[1]),
        (Role::Experts, LAYERS * EXPERTS * EXPERT[0] * EXPERT[1]),
        (Role::Norms, LAYERS * VECTOR),
    ] {
        assert_eq!(parameters(&found, role) - parameters(&without, role), count as u64, "{role:?}");
    }
    let counts = |checkpoint: &Checkpoint| checkpoint.config.parameter_counts();
    let more_experts = counts(&made_up.checkpoint).experts - counts(&plain.checkpoint).experts;
    assert_eq!(more_experts, (LAYERS * EXPERTS * EXPERT[0] * EXPERT[1]) as u64);

    let error = table::open(plain.folder.path(), &more()).unwrap_err().to_string();
    for name in ["layers.0.extra.wide_proj.weight", "layers.0.experts.0.extra_proj.weight", "layers.0.extra.scale"] {
        assert!(error.contains(&format!("\"model.language_model.{name}\": missing")), "{name} in {error}");
    }
}

/// The reference reads it.
#[test]
fn the_reference_has_it() {
    let MadeUp { checkpoint, .. } = MadeUp::new(&more());
    let model = Model::load(&checkpoint).unwrap();
    let expected = Matrix::Packed(wide(&checkpoint, 4)).to_dense().expect("a matrix");
    assert_eq!(model.matrix("layers.4.extra.wide_proj"), Some(&Matrix::Dense(expected)));
    assert!(model.matrix("layers.5.experts.15.extra_proj").is_some());
    let scale = model.vector("layers.2.extra.scale").unwrap();
    assert_eq!(scale, [1.0; VECTOR]);
}

fn plan(gpu: &Arc<Gpu>, checkpoint: &Checkpoint, options: &Options) -> MemoryPlan {
    MemoryPlan::new(std::slice::from_ref(gpu), checkpoint, options).unwrap()
}

/// What loads with `options`, and the bytes of weights that it told of.
fn load(gpu: &Arc<Gpu>, checkpoint: &Checkpoint, options: &Options) -> (Gemma4, u64) {
    let all = Mutex::new(0);
    let progress = |progress| {
        if let Progress::Weights { total, .. } = progress {
            *all.lock().unwrap() = total;
        }
    };
    let model = Gemma4::load(gpu.clone(), checkpoint, options, &progress).unwrap();
    (model, all.into_inner().unwrap())
}

fn traffic<'t>(all: &'t [Traffic], label: &str) -> Option<&'t Traffic> {
    all.iter().find(|traffic| traffic.label == label)
}

const STEP: StepShape = StepShape { rows: 2, slots: 1, positions: 10, logits: 1 };

/// The traffic of a step of a model that has the made-up matrices.
fn check_traffic(model: &Gemma4) {
    let all = model.traffic(STEP);
    let wide = traffic(&all, "extra.wide_proj").expect("a product with it");
    assert_eq!(wide.operations, (2 * MATRIX[0] * MATRIX[1] * 2 * LAYERS) as f64);
    assert_eq!(wide.bytes, (LAYERS as u64 * matrix_bytes(MATRIX)) as f64);
    // 4 experts for each row; evenly chosen, two rows read 16 (1 - (1 - 4 / 16)^2) = 7.
    let expert = traffic(&all, "experts.extra_proj").expect("a product with it");
    assert_eq!(expert.operations, (2 * EXPERT[0] * EXPERT[1] * 2 * 4 * LAYERS) as f64);
    assert_eq!(expert.bytes, (7 * LAYERS as u64 * matrix_bytes(EXPERT)) as f64);
}

/// Memory plan, loader and traffic: it is planned to the byte, uploaded as it is in the file, and counted.
#[test]
fn it_is_planned_loaded_and_counted() {
    let (plain, made_up) = (MadeUp::new(&[]), MadeUp::new(&more()));
    let (gpu, options) = (Arc::new(open()), Options::exact());
    let [without, with] = [&plain, &made_up].map(|model| plan(&gpu, &model.checkpoint, &options));
    let (device, before) = (&with.devices[0], &without.devices[0]);
    // Buffers take multiples of 16 bytes, which all of these are.
    let rows = (4 * VECTOR) as u64;
    assert_eq!(device.layers - before.layers, LAYERS as u64 * (matrix_bytes(MATRIX) + rows));
    assert_eq!(device.experts - before.experts, (LAYERS * EXPERTS) as u64 * matrix_bytes(EXPERT));

    let (model, told) = load(&gpu, &made_up.checkpoint, &options);
    assert_eq!(gpu.allocated_bytes(), with.at_start());
    for l in 0..LAYERS {
        let held = |label: &str| table::held(&model, label, Some(l)).unwrap().remove(0);
        assert_eq!(held("extra.wide_proj"), wide(&made_up.checkpoint, l).codes, "layer {l}");
        assert_eq!(held("extra.scale"), [1.0f32.to_bits(); VECTOR], "layer {l}");
        assert_eq!(held("experts.extra_proj").len(), EXPERTS * EXPERT[0] * EXPERT[1] / 8, "layer {l}");
    }
    check_traffic(&model);
    let (model, told_before) = load(&gpu, &plain.checkpoint, &options);
    assert!(table::held(&model, "extra.wide_proj", Some(0)).unwrap()[0].is_empty());
    assert!(traffic(&model.traffic(STEP), "extra.wide_proj").is_none());
    // In files, zero points are a nibble a row and group; a scale has two bytes.
    let file_bytes = |[n, k]: [usize; 2]| (n * k / 2 + n / 2 + 2 * n) as u64;
    let more_bytes = LAYERS as u64 * (file_bytes(MATRIX) + EXPERTS as u64 * file_bytes(EXPERT));
    assert_eq!(told - told_before, more_bytes);
}

/// Ranks hold their parts of it, and experts in host memory have it there.
#[test]
fn ranks_cut_it() {
    let MadeUp { checkpoint, folder: _folder } = MadeUp::new(&more());
    let gpu = Arc::new(open());
    let parallel = |split| Parallel { shares: "3,1".parse().unwrap(), split, ..Parallel::default() };
    let options = Options { parallel: parallel(Split::Tensor), ..Options::exact() };
    let (model, _) = load(&gpu, &checkpoint, &options);
    let (whole, parts) = (wide(&checkpoint, 1), table::held(&model, "extra.wide_proj", Some(1)).unwrap());
    assert_eq!(
        parts,
        [whole.column_shard(0..60).expect("a part").codes, whole.column_shard(60..80).expect("a part").codes]
    );

    let options = Options { parallel: parallel(Split::Expert), host_experts: 2, ..Options::exact() };
    let lengths = |model: &Gemma4, l| -> Vec<usize> {
        let parts = table::held(model, "experts.extra_proj", Some(l)).unwrap();
        parts.iter().map(Vec::len).collect()
    };
    let (model, _) = load(&gpu, &checkpoint, &options);
    let one = EXPERT[0] * EXPERT[1] / 8;
    assert_eq!(lengths(&model, 4), [12 * one, 4 * one]);
    let plain = MadeUp::new(&[]);
    let (without, _) = load(&gpu, &plain.checkpoint, &options);
    let more = model.host_experts().bytes - without.host_experts().bytes;
    assert_eq!(more, 2 * EXPERTS as u64 * matrix_bytes(EXPERT));
}

/// A synthetic model has it.
#[test]
fn synthetic_models_have_it() {
    let config = |more: &[Entry]| table::config(&config_json(), more).unwrap();
    let make = |more: &[Entry]| Gemma4::synthetic(open(), config(more), &Options::exact(), &|_| ()).unwrap();
    let (model, without) = (make(&more()), make(&[]));
    check_traffic(&model);
    let taken = |model: &Gemma4| model.ranks().map(|rank| rank.memory.weights).sum::<u64>();
    let matrices = matrix_bytes(MATRIX) + EXPERTS as u64 * matrix_bytes(EXPERT) + (4 * VECTOR) as u64;
    assert_eq!(taken(&model) - taken(&without), LAYERS as u64 * matrices);
    let held = table::held(&model, "extra.wide_proj", Some(5)).unwrap().remove(0);
    assert!(held.len() == MATRIX[0] * MATRIX[1] / 8 && held[0] != held[1], "random codes");
}

/// Rows of one tensor that some layers lack, and tensors of layers with keys of their own alone.
#[test]
fn what_a_layer_lacks_is_a_row_of_zeros() {
    let vector = |name, when| {
        Entry::of_layer(name, Role::Norms, Shape::Vector(SizeOf::Fixed(8))).when(when).at(Place::Rows("extra.rows"))
    };
    // No layer of this model has values of its own where it is full attention.
    let more = [vector("extra.first", When::OwnValues), vector("extra.second", When::Always)];
    let MadeUp { checkpoint, folder: _folder } = MadeUp::new(&more);
    let model = Gemma4::load(open(), &checkpoint, &Options::exact(), &|_| ()).unwrap();
    let rows = |l| table::held(&model, "extra.rows", Some(l)).unwrap().remove(0);
    let (one, zero) = (1.0f32.to_bits(), 0);
    assert_eq!(rows(0), [one; 16]);
    assert_eq!(rows(2), [[zero; 8], [one; 8]].concat());
    assert!(!checkpoint.has("layers.2.extra.first") && checkpoint.has("layers.0.extra.first"));
}

/// A name is in the table once.
#[test]
#[should_panic(expected = "a second row \"mlp.up_proj\"")]
fn a_name_is_in_the_table_once() {
    let again = Entry::of_layer("mlp.up_proj", Role::Mlp, Shape::Matrix(SizeOf::Mlp, SizeOf::Hidden));
    let _ = table::config(&config_json(), &[again]);
}
