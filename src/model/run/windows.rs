//! The windows of a rank: room on the device for experts that are in host memory.

use std::sync::Mutex;

use crate::Result;
use crate::gpu::{Gpu, Readback};
use crate::kernels::Weights;
use crate::model::load::weights::ModelWeights;
use crate::model::pass::activations::Activations;

/// What the windows of a rank hold, and where the router's choice comes to the host.
#[derive(Debug)]
pub(crate) struct Windows {
    pub ids: Readback,
    /// For each window and each expert, counted from the rank's first, the layer whose weights are there.
    pub held: Mutex<Vec<Vec<Option<usize>>>>,
}

impl Windows {
    /// `None` where all experts are on the device.
    pub(crate) fn new(gpu: &Gpu, weights: &ModelWeights, activations: &Activations) -> Result<Option<Self>> {
        let Some(moe) = activations.moe.as_ref().filter(|_| !weights.windows.is_empty()) else { return Ok(None) };
        let held = weights.windows.iter().map(|window: &Weights| vec![None; window.n_matrices]).collect();
        Ok(Some(Windows { ids: Readback::new(gpu, &moe.ids, moe.ids.rows)?, held: Mutex::new(held) }))
    }

    /// Bytes on the device.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.ids.size_bytes()
    }
}
