//! Lookup of served kinds that the server itself reads and writes.

use pandaemon_machinery::{Kind, Status, scheme, status::Result};

/// The served kind of a resource in version `v1` of a group. The core group is empty.
///
/// # Errors
/// 404 if it is not served.
pub(crate) fn v1(group: &str, plural: &str) -> Result<&'static Kind> {
    scheme::find_resource(group, "v1", plural).ok_or_else(Status::path_not_found)
}
