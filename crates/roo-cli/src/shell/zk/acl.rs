//! ACLs as zkCli reads them: what cannot be read is named and left out.

use roo_client::Acl;
use roo_proto::acl::{PERM_ADMIN, PERM_CREATE, PERM_DELETE, PERM_READ, PERM_WRITE};

use crate::shell::output::Output;

/// Reads `scheme:id:perms,...`; an id may hold colons.
pub(super) fn parse(out: &mut Output, text: &str) -> Vec<Acl> {
    let mut acl = Vec::new();
    for entry in text.split(',') {
        let parts = entry.split_once(':').and_then(|(scheme, rest)| {
            rest.rsplit_once(':').map(|(id, perms)| (scheme, id, perms))
        });
        let Some((scheme, id, letters)) = parts else {
            out.note(format!("{entry} does not have the form scheme:id:perm"));
            continue;
        };
        let mut perms = 0;
        for letter in letters.chars() {
            match letter {
                'r' => perms |= PERM_READ,
                'w' => perms |= PERM_WRITE,
                'c' => perms |= PERM_CREATE,
                'd' => perms |= PERM_DELETE,
                'a' => perms |= PERM_ADMIN,
                _ => out.note(format!("Unknown perm type: {letter}")),
            }
        }
        acl.push(Acl::new(perms, scheme, id));
    }
    acl
}
