//! Experts that stay in host memory: those of the first layers, as with llama.cpp's `--n-cpu-moe`. All of these layers
//! share **windows** on the device, stacks of the shapes that one layer's experts have. Before a layer's experts multiply, the
//! host reads back which ones the router chose and brings those that the window does not hold of this layer. Kernels see the
//! same buffers of weights as always, so results are the same, bit for bit.

use std::sync::{Arc, Mutex, PoisonError};

use super::activations::Activations;
use super::rank::Rank;
use super::weights::ModelWeights;
use crate::Result;
use crate::gpu::{Gpu, Readback, Recorder};
use crate::kernels::{HostStack, Weights};

/// A stack of a layer's experts in host memory.
#[derive(Debug, Clone)]
pub(super) struct Hosted {
    pub stack: Arc<HostStack>,
    /// The number of its window in [`ModelWeights::windows`].
    pub window: usize,
}

/// What the windows of a rank hold, and where the router's choice comes to the host.
#[derive(Debug)]
pub(super) struct Windows {
    ids: Readback,
    /// For each window and each expert, counted from the rank's first, the layer whose weights are there.
    held: Mutex<Vec<Vec<Option<usize>>>>,
}

impl Windows {
    /// `None` where all experts are on the device.
    pub(super) fn new(gpu: &Gpu, weights: &ModelWeights, activations: &Activations) -> Result<Option<Self>> {
        let Some(moe) = activations.moe.as_ref().filter(|_| !weights.windows.is_empty()) else { return Ok(None) };
        let held = weights.windows.iter().map(|window: &Weights| vec![None; window.n_matrices]).collect();
        Ok(Some(Windows { ids: Readback::new(gpu, &moe.ids, moe.ids.rows)?, held: Mutex::new(held) }))
    }

    /// Bytes on the device.
    pub(super) fn size_bytes(&self) -> u64 {
        self.ids.size_bytes()
    }
}

impl Rank {
    /// Records that the experts chosen for `n_rows` rows come to the host.
    pub(super) fn read_choice(&self, recorder: &mut Recorder, n_rows: usize) {
        let moe = self.activations.moe.as_ref().expect("the configuration has experts");
        recorder.read_into(&moe.ids, n_rows, &self.windows().ids);
    }

    /// Brings the experts that layer `l` chose for `n_rows` rows to the windows, as far as they are not there.
    pub(super) fn bring_experts(&self, l: usize, n_rows: usize) -> Result<()> {
        let windows = self.windows();
        let mut chosen = windows.ids.read::<u32>(&self.gpu, n_rows)?;
        chosen.sort_unstable();
        chosen.dedup();
        let moe = self.weights().layers[l].moe.as_ref().expect("the configuration has experts");
        let mut held = windows.held.lock().unwrap_or_else(PoisonError::into_inner);
        for Hosted { stack, window } in &moe.hosted {
            for &expert in &chosen {
                // Others are another rank's.
                let Some(index) = (expert as usize).checked_sub(self.share.experts.start) else { continue };
                if index < self.share.experts.len() && held[*window][index] != Some(l) {
                    stack.bring(&self.gpu, index)?;
                    held[*window][index] = Some(l);
                }
            }
        }
        Ok(())
    }

    fn windows(&self) -> &Windows {
        self.windows.as_ref().expect("made where layers have experts in host memory")
    }
}
