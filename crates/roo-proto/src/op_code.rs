//! The numbers of the operations. Java: `ZooDefs.OpCode`.
#![allow(missing_docs)] // Each constant is the operation of its name.

pub const NOTIFICATION: i32 = 0;
pub const CREATE: i32 = 1;
pub const DELETE: i32 = 2;
pub const EXISTS: i32 = 3;
pub const GET_DATA: i32 = 4;
pub const SET_DATA: i32 = 5;
pub const GET_ACL: i32 = 6;
pub const SET_ACL: i32 = 7;
pub const GET_CHILDREN: i32 = 8;
pub const SYNC: i32 = 9;
pub const PING: i32 = 11;
pub const GET_CHILDREN2: i32 = 12;
pub const CHECK: i32 = 13;
pub const MULTI: i32 = 14;
pub const CREATE2: i32 = 15;
pub const RECONFIG: i32 = 16;
pub const CHECK_WATCHES: i32 = 17;
pub const REMOVE_WATCHES: i32 = 18;
pub const CREATE_CONTAINER: i32 = 19;
pub const DELETE_CONTAINER: i32 = 20;
pub const CREATE_TTL: i32 = 21;
pub const MULTI_READ: i32 = 22;
pub const AUTH: i32 = 100;
pub const SET_WATCHES: i32 = 101;
pub const SASL: i32 = 102;
pub const GET_EPHEMERALS: i32 = 103;
pub const GET_ALL_CHILDREN_NUMBER: i32 = 104;
pub const SET_WATCHES2: i32 = 105;
pub const ADD_WATCH: i32 = 106;
pub const WHO_AM_I: i32 = 107;
pub const CREATE_SESSION: i32 = -10;
pub const CLOSE_SESSION: i32 = -11;
pub const ERROR: i32 = -1;

/// Whether a request of this kind becomes a transaction.
#[must_use]
pub const fn is_write(op: i32) -> bool {
    matches!(
        op,
        CREATE
            | DELETE
            | SET_DATA
            | SET_ACL
            | MULTI
            | CREATE2
            | RECONFIG
            | CREATE_CONTAINER
            | DELETE_CONTAINER
            | CREATE_TTL
            | CLOSE_SESSION
    )
}

/// Whether a request of this kind shows what the tree holds: a server that reads in rounds must
/// not answer it alone.
#[must_use]
pub const fn reads_tree(op: i32) -> bool {
    matches!(
        op,
        EXISTS
            | GET_DATA
            | GET_ACL
            | GET_CHILDREN
            | GET_CHILDREN2
            | MULTI_READ
            | GET_EPHEMERALS
            | GET_ALL_CHILDREN_NUMBER
            | SYNC
    )
}
