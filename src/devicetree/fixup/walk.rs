//! All nodes of a tree with their paths.

use alloc::{string::String, vec::Vec};

use crate::devicetree::{
    DeviceTree, Node,
    tokens::{Located, Token, Tokens},
};

/// Visits each node before its children. The root's path is empty.
pub(in crate::devicetree) fn walk<'t>(tree: DeviceTree<'t>, mut visit: impl FnMut(&str, Node<'t>)) {
    let mut tokens = Tokens::new(tree.structure, 0);
    let mut path = String::new();
    let mut ends = Vec::new();
    loop {
        match tokens.next_of_node() {
            Ok(Located { start, token: Token::BeginNode { .. }, .. }) => {
                let node = Node::at(tree, start);
                let is_root = ends.is_empty();
                ends.push(path.len());
                if !is_root {
                    path.push('/');
                    path.push_str(node.name());
                }
                visit(&path, node);
            }
            Ok(Located { token: Token::EndNode, .. }) => {
                path.truncate(ends.pop().unwrap_or_default());
            }
            Ok(Located { token: Token::Property { .. }, .. }) => {}
            Ok(Located { token: Token::End, .. }) | Err(_) => return,
        }
    }
}
