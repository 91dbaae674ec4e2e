//! How many dispatches a decode step takes: each waits for the one before, and that is most of its time on a large GPU.

use lapidary::gemma4::{Config, Cut};
use lapidary::gpu::{Label, Tier};
use lapidary::model::{Gemma4, Options, Precision, Row, StepShape, Want};

/// A model of two layers.
fn model(name: &str, experts: Option<usize>, slots: usize) -> Gemma4 {
    let config = Config::preset(name, Cut { layers: Some(2), experts, vocab: Some(512) }).unwrap();
    let options =
        Options { context: Some(64), slots, precision: Precision::Fast, tier: Some(Tier::Dot), ..Options::exact() };
    Gemma4::synthetic(super::device::open(), config, &options, &|_| ()).unwrap()
}

/// Labels of the dispatches of a decode step of so many slots.
fn labels(name: &str, experts: Option<usize>, slots: usize) -> Vec<Label> {
    let mut model = model(name, experts, slots);
    let timestamps = model.gpu().timestamps().unwrap();
    model.gpu().start_profile(timestamps).unwrap();
    let rows: Vec<Row> = (0..slots).map(|slot| Row { slot, position: 0, token: 7 }).collect();
    let all: Vec<usize> = (0..slots).collect();
    model.step(&rows, Want::Greedy(&all)).unwrap();
    model.gpu().finish_profile().unwrap().into_iter().map(|timing| timing.label).collect()
}

#[test]
fn a_layer_takes_ten_dispatches_and_two_more_for_per_layer_inputs() {
    for (name, experts, expected, most) in [("26b-a4b", Some(8), 10, 10), ("e2b", None, 12, 14)] {
        let labels = labels(name, experts, 1);
        for layer in [0, 1] {
            let of_layer: Vec<_> = labels.iter().filter(|label| label.layer == Some(layer)).collect();
            assert_eq!(of_layer.len(), expected, "{name}: {of_layer:?}");
            assert!(of_layer.len() <= most);
        }
        // Embedding, first norm, per-layer inputs; head and choice.
        assert!(labels.len() <= 2 * expected + 7, "{name}: {labels:?}");
    }
}

/// Rows that share what they read take no dispatch more than one row does.
#[test]
fn a_batch_takes_the_dispatches_of_one_sequence() {
    let alone = labels("26b-a4b", Some(8), 1);
    for slots in [2, 3] {
        assert_eq!(labels("26b-a4b", Some(8), slots), alone, "{slots} slots");
    }
}

/// What is counted as traffic is counted under the name of a dispatch, where `bench --profile` looks for it.
#[test]
fn traffic_has_the_names_of_dispatches() {
    for (name, experts) in [("26b-a4b", Some(8)), ("e2b", None), ("31b", None)] {
        let names: Vec<String> = labels(name, experts, 1).into_iter().map(|label| label.name).collect();
        let traffic = model(name, experts, 1).traffic(StepShape { rows: 1, slots: 1, positions: 1, logits: 1 });
        assert!(traffic.len() >= 5, "{name}: {traffic:?}");
        for one in traffic.iter().filter(|one| one.bytes > 0.0) {
            // The router's product has no dispatch of its own where it runs beside the dense MLP's.
            let is_dispatched = names.iter().any(|name| name == one.label) || one.label == "router.proj";
            assert!(is_dispatched, "{name}: {} is in no label of {names:?}", one.label);
        }
    }
}
