//! What presets make of devices of every kind: the pipelines that texts are translated for, found by planning.
#![allow(dead_code, reason = "each binary uses its own part")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use lapidary::gpu::Kind;
use lapidary::quant::{Dtype, Format};
use lapidary::testing::gpu::Imagined;
use lapidary::testing::kernels::SUBGROUP;

use super::keys;
use super::texts::Text;

/// Values of a text's constants.
pub(crate) type Constants = Vec<(&'static str, u32)>;

/// A set of constants, and the device that it was planned on.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub(crate) constants: Constants,
    pub(crate) device: Imagined,
}

/// By stem, variant and whether lanes add up within subgroups.
pub(crate) type All = BTreeMap<(&'static str, &'static str, bool), Vec<Planned>>;

/// What everything was planned for, once for each text and set of constants.
pub(crate) static PLANNED: LazyLock<All> = LazyLock::new(|| plan(&devices(), &Kind::ALL));

/// What a browser may have beyond the floor: buffers, and parameters with the commands.
pub(crate) const BROWSER: Imagined =
    Imagined { subgroups: Some((8, 32)), immediate_bytes: 64, storage_buffers: 10, ..Imagined::FLOOR };

/// The floor, what browsers have, subgroups of all sizes that are known, matrices of both sizes: the floor first, so that
/// what it can run is known as that.
pub(crate) fn devices() -> Vec<Imagined> {
    let with = |subgroups, matrix_side| Imagined { subgroups: Some(subgroups), matrix_side, ..Imagined::default() };
    vec![
        Imagined::FLOOR,
        BROWSER,
        with((8, 32), None),
        with((32, 32), Some(16)),
        with((32, 32), Some(8)),
        with((32, 64), Some(16)),
        with((64, 64), None),
    ]
}

/// How checkpoints may hold what presets have as int4.
const LINEAR: [Option<Format>; 5] = [
    None,
    Some(Format::int(8, 32)),
    Some(Format::Dense(Dtype::F32)),
    Some(Format::Dense(Dtype::F16)),
    Some(Format::Dense(Dtype::BF16)),
];

/// Constants that follow from what a checkpoint's files say alone, with all of their values.
const FORMATS: [(&str, &[u32]); 5] = [
    ("DTYPE", &[0, 1, 2]),
    ("SCALE_DTYPE", &[0, 1, 2]),
    ("BESIDE_DTYPE", &[0, 1, 2]),
    ("HAS_ZEROS", &[0, 1]),
    ("PER_ROW", &[0, 1]),
];

/// What is planned on `devices`, with the tables of tunings of these kinds.
pub(crate) fn plan(devices: &[Imagined], kinds: &[Kind]) -> All {
    let mut all = All::new();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for device in devices {
        for &kind in kinds {
            let gpu = Arc::new(device.open().expect("wgpu has devices with nothing behind them").with_kind(kind));
            // Other formats are other numbers to the same table: one kind of GPU is enough.
            let formats = if kind == Kind::Unknown { &LINEAR[..] } else { &LINEAR[..1] };
            for linear in formats {
                let planned = keys::planned(&gpu, *linear);
                let others = keys::others(&planned);
                for (name, used) in planned.into_iter().chain(others) {
                    if seen.insert(name) {
                        let constants = used.key.constants;
                        let subgroups = constants.iter().any(|(name, _)| *name == SUBGROUP);
                        let text = (used.key.stem, used.key.variant, subgroups);
                        all.entry(text).or_default().push(Planned { constants, device: *device });
                    }
                }
            }
        }
    }
    for planned in all.values_mut() {
        let more: Vec<Planned> = planned.first().into_iter().flat_map(formats).collect();
        planned.extend(more);
    }
    all
}

/// One set of constants with each value of each of [`FORMATS`] that it has.
fn formats(planned: &Planned) -> Vec<Planned> {
    let mut all = Vec::new();
    for (i, (name, value)) in planned.constants.iter().enumerate() {
        let Some((_, values)) = FORMATS.iter().find(|(format, _)| format == name) else { continue };
        for other in values.iter().filter(|other| *other != value) {
            let mut changed = planned.clone();
            changed.constants[i].1 = *other;
            all.push(changed);
        }
    }
    all
}

/// What is planned for a text, of `all`.
pub(crate) fn of<'a>(all: &'a All, text: &Text) -> &'a [Planned] {
    all.get(&(text.stem, text.variant, text.subgroups)).map_or(&[], Vec::as_slice)
}
