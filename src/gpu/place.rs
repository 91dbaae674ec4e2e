//! Places in buffers.

/// A place in a buffer.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The buffer.
    pub buffer: &'a wgpu::Buffer,
    /// Bytes before it.
    pub offset: u64,
}

impl<'a> Place<'a> {
    /// Where `buffer` begins.
    pub fn start(buffer: &'a wgpu::Buffer) -> Self {
        Place { buffer, offset: 0 }
    }
}
