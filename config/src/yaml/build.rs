//! From the parser's events to the tree.

use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle, StructureStyle, Tag};

use super::scalar::quote;
use super::{Entry, Node, Scalar, Span, Value};
use crate::read::{Reader, Reported, Spot};

/// Deepest nesting, aliases followed. The schema needs 5 levels.
const DEPTH_MAX: usize = 32;

/// Builds the tree of the reader's text. Duplicate keys, tags and keys that are no scalars are
/// reported and left out, so that the rest of the file can be checked too.
///
/// # Errors
/// If the text is no YAML, is empty, or has more than one document.
pub(crate) fn build(reader: &mut Reader<'_>) -> Result<Node, Reported> {
    let mut options = granit_parser::Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = DEPTH_MAX;
    options.block_nesting_limit = DEPTH_MAX;
    let text = reader.text();
    let mut builder = Builder { reader, stack: Vec::new(), anchors: HashMap::new(), root: None };
    let mut documents = 0;
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((Event::DocumentStart(..), span)) => {
                documents += 1;
                if documents > 1 {
                    let spot = Spot::whole(builder.span(&span));
                    return Err(builder.reader.error(
                        &spot,
                        "a second YAML document",
                        "one document per file",
                    ));
                }
            }
            Ok((event, span)) => {
                let tag_span = span.tag_span().map(|span| builder.span(&span));
                let span = builder.span(&span);
                builder.event(event, span, tag_span.unwrap_or(span))?;
            }
            Err(error) => {
                let start = error.marker().byte_offset().unwrap_or(0);
                let span = Span { start, end: start, line: error.marker().line() };
                let message = format!("invalid YAML: {}", error.info());
                let spot = builder.spot(span);
                let help = builder.unclosed();
                return Err(builder.reader.error_with_help(&spot, message, None::<&str>, help));
            }
        }
    }
    match builder.root.take() {
        Some((node, _)) if !node.is_null() => Ok(node),
        _ => Err(builder.reader.error(
            &Spot::whole(Span::START),
            "the file is empty",
            "at least the keys `ports`, `snat` and `source`",
        )),
    }
}

/// Nesting below a node, the node itself included.
type Depth = usize;

struct Builder<'r, 't> {
    reader: &'r mut Reader<'t>,
    stack: Vec<Frame>,
    /// Nodes by anchor id, once complete: a node cannot contain itself.
    anchors: HashMap<usize, (Node, Depth)>,
    root: Option<(Node, Depth)>,
}

/// A collection that is not complete yet.
struct Frame {
    span: Span,
    /// Whether it is written with brackets.
    flow: bool,
    anchor: usize,
    depth: Depth,
    items: Items,
}

enum Items {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, lines: HashMap<Rc<str>, usize>, pending: Pending },
}

/// The key whose value comes next.
enum Pending {
    None,
    Key(Rc<str>, Span),
    /// The key was refused: its value is left out.
    Refused,
}

impl Builder<'_, '_> {
    fn span(&self, span: &granit_parser::Span) -> Span {
        let start = span.start.byte_offset().unwrap_or(0);
        let end = span.end.byte_offset().unwrap_or(start).max(start);
        Span { start, end, line: span.start.line() }
    }

    /// The place and path of the node that comes next.
    fn spot(&self, span: Span) -> Spot {
        self.stack.iter().fold(Spot::whole(span), |spot, frame| match &frame.items {
            Items::List(items) => spot.element(items.len(), span),
            Items::Map { pending: Pending::Key(key, _), .. } => spot.key(key, span),
            Items::Map { .. } => spot,
        })
    }

    /// A guess at what is wrong with text that is no YAML: a bracket that was never closed.
    fn unclosed(&self) -> Option<String> {
        let frame = self.stack.iter().rfind(|frame| frame.flow)?;
        let (open, close) = match frame.items {
            Items::List(_) => ('[', ']'),
            Items::Map { .. } => ('{', '}'),
        };
        Some(format!("the `{open}` in line {} may lack its `{close}`", frame.span.line))
    }

    fn event(&mut self, event: Event<'_>, span: Span, tag_span: Span) -> Result<(), Reported> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), tag_span);
                let plain = style == ScalarStyle::Plain;
                let value = Value::Scalar(Scalar { text: Rc::from(&*text), plain });
                self.complete(Node { span, value }, 1, anchor)
            }
            Event::SequenceStart(style, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), tag_span);
                self.open(span, style, anchor, Items::List(Vec::new()));
                Ok(())
            }
            Event::MappingStart(style, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), tag_span);
                let (entries, lines) = (Vec::new(), HashMap::new());
                let items = Items::Map { entries, lines, pending: Pending::None };
                self.open(span, style, anchor, items);
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(frame) = self.stack.pop() else { return Ok(()) };
                let value = match frame.items {
                    Items::List(items) => Value::List(items.into()),
                    Items::Map { entries, .. } => Value::Map(entries.into()),
                };
                self.complete(Node { span: frame.span, value }, frame.depth + 1, frame.anchor)
            }
            Event::Alias(id) => {
                let Some((node, depth)) = self.anchors.get(&id).cloned() else {
                    let spot = self.spot(span);
                    return Err(self.reader.error(
                        &spot,
                        "an alias inside the value that it refers to",
                        "an alias of a value that is complete",
                    ));
                };
                self.complete(node, depth, 0)
            }
            _ => Ok(()),
        }
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, span: Span) {
        if let Some(tag) = tag {
            let message = format!("found the tag {}", quote(&tag.original()));
            let spot = self.spot(span);
            self.reader.error(&spot, message, "a value without a tag");
        }
    }

    fn open(&mut self, span: Span, style: StructureStyle, anchor: usize, items: Items) {
        let flow = style == StructureStyle::Flow;
        self.stack.push(Frame { span, flow, anchor, depth: 0, items });
    }

    /// Puts a complete node where it belongs: the root, a list, a key or a key's value.
    fn complete(&mut self, node: Node, depth: Depth, anchor: usize) -> Result<(), Reported> {
        if depth + self.stack.len() > DEPTH_MAX {
            let spot = self.spot(node.span);
            return Err(self.reader.error(
                &spot,
                format!("nested more than {DEPTH_MAX} levels deep, aliases followed"),
                None::<&str>,
            ));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), depth));
        }
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some((node, depth));
            return Ok(());
        };
        frame.depth = frame.depth.max(depth);
        let refusal = match &mut frame.items {
            Items::List(items) => {
                items.push(node);
                None
            }
            Items::Map { entries, lines, pending } => {
                match std::mem::replace(pending, Pending::None) {
                    Pending::Refused => None,
                    Pending::Key(key, key_span) => {
                        entries.push(Entry { key, key_span, value: node });
                        None
                    }
                    Pending::None => {
                        let accepted = accept_key(&node, lines);
                        let refusal = accepted.as_ref().err().map(|why| (node, why.clone()));
                        *pending = accepted.unwrap_or(Pending::Refused);
                        refusal
                    }
                }
            }
        };
        if let Some((node, message)) = refusal {
            let mut spot = self.spot(node.span);
            if let Value::Scalar(Scalar { text, .. }) = &node.value {
                spot = spot.key(text, node.span);
            }
            self.reader.error(&spot, message, "each key once, a plain word");
        }
        Ok(())
    }
}

/// Judges a key of a map whose earlier keys stand at `lines`: it comes next, or what is wrong.
fn accept_key(node: &Node, lines: &mut HashMap<Rc<str>, usize>) -> Result<Pending, String> {
    let Value::Scalar(Scalar { text, .. }) = &node.value else {
        return Err(format!("found {} as a key", node.describe()));
    };
    if let Some(first) = lines.get(text) {
        return Err(format!("duplicate key {}, first in line {first}", quote(text)));
    }
    lines.insert(text.clone(), node.span.line);
    Ok(Pending::Key(text.clone(), node.span))
}
