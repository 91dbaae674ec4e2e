//! Experts that stay in host memory: those of the first layers, as with llama.cpp's `--n-cpu-moe`. All of these layers
//! share **windows** on the device, stacks of the shapes that one layer's experts have. Before a layer's experts multiply, the
//! host reads back which ones the router chose and brings those that the window does not hold of this layer. Kernels see the
//! same buffers of weights as always, so results are the same, bit for bit.

use std::sync::PoisonError;

use super::rank::Rank;
use super::windows::Windows;
use crate::Result;
use crate::gpu::Recorder;
use crate::model::load::weights::Hosted;

impl Rank {
    /// Records that the experts chosen for `n_rows` rows come to the host.
    ///
    /// # Errors
    /// As [`Recorder::read_into`].
    pub(crate) fn read_choice(&self, recorder: &mut Recorder, n_rows: usize) -> Result<()> {
        let moe = self.activations.moe.as_ref().expect("the configuration has experts");
        recorder.read_into(&moe.ids, n_rows, &self.windows().ids)
    }

    /// Brings the experts that layer `l` chose for `n_rows` rows to the windows, as far as they are not there.
    pub(crate) fn bring_experts(&self, l: usize, n_rows: usize) -> Result<()> {
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
