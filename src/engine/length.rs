//! Whether a prompt fits the context.

use crate::Result;
use crate::error::Usage;

/// Fails for a prompt that leaves no room for an answer in a context of so many tokens.
///
/// # Errors
/// [`crate::Error::Usage`] with both numbers.
pub fn check_length(tokens: usize, context: usize) -> Result<()> {
    if tokens < context {
        return Ok(());
    }
    Err(Usage::PromptTooLong { tokens, context }.into())
}
