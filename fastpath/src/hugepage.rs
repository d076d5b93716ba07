/// A vector with room for `capacity` values whose memory the kernel is asked to
/// back with huge pages as it is touched: a flow table in small pages costs a
/// page walk per lookup.
#[allow(unsafe_code)]
pub(crate) fn vec_with_capacity<T>(capacity: usize) -> Vec<T> {
    let vec: Vec<T> = Vec::with_capacity(capacity);
    const PAGE: usize = 4096;
    let start = (vec.as_ptr() as usize).next_multiple_of(PAGE);
    let end = (vec.as_ptr() as usize + capacity * size_of::<T>()) / PAGE * PAGE;
    if end > start + (2 << 20) {
        // SAFETY: the range lies inside the vector's own allocation; the advice
        // changes how it is backed, not what it holds. A refusal changes
        // nothing.
        let _ = unsafe {
            rustix::mm::madvise(
                start as *mut std::ffi::c_void,
                end - start,
                rustix::mm::Advice::LinuxHugepage,
            )
        };
    }
    vec
}
