//! What is wrong with a text that is not YAML, in people's words, with the way out that is most often the right one.

use super::problem::Problem;
use super::{Place, words};
use granit_parser::{ErrorKind, ScanError};

const IN_QUOTES: &str = "put text that contains ': ' or begins with a sign in quotes";
const COLUMNS: &str =
    "write 'key: value' with a space after the colon; keys of one mapping begin in the same column";

/// The parser's complaint about `text`.
pub(super) fn problem(error: &ScanError, text: &str) -> Problem {
    let marker = error.marker();
    let at = Place { line: marker.line().max(1), column: marker.col() + 1 };
    let (what, hint) = words(error.kind());
    // What cannot be seen is the likeliest culprit, on this line or on the one that it continues.
    let near = text.lines().skip(at.line.saturating_sub(2)).take(2);
    let hint = match near.flat_map(str::chars).find(|c| words::is_invisible(*c)) {
        Some(c) => format!(
            "line {} or the one before has an invisible character (U+{:04X}); type an ordinary space",
            at.line,
            u32::from(c)
        ),
        None => hint.to_owned(),
    };
    Problem::at(at, what).hint(hint)
}

fn words(kind: &ErrorKind) -> (String, &'static str) {
    use ErrorKind as K;
    let (what, hint) = match kind {
        K::TabNotAllowed
        | K::TabInBlockIndentation
        | K::TabAtBlockScalarStart
        | K::TabInIndentation
        | K::TabInPlainScalar => ("a tab stands where YAML takes only spaces", "indent with spaces"),
        K::UnexpectedEofFlowSequence | K::UnclosedFlowCollection { open: '[' } => {
            ("a list that begins with '[' has no ']'", "close it")
        }
        K::UnexpectedEofFlowMapping
        | K::UnexpectedEofImplicitFlowMapping
        | K::UnclosedFlowCollection { .. } => ("a mapping that begins with '{' has no '}'", "close it"),
        K::ExpectedFlowSequenceSeparator => {
            ("',' or ']' is missing before this", "separate values by commas")
        }
        K::ExpectedFlowMappingSeparator => {
            ("',' or '}' is missing before this", "separate entries by commas")
        }
        K::MisplacedFlowCollectionEnd => ("a bracket is closed that was not opened", "remove it"),
        K::MismatchedFlowCollectionEnd { open, close } => {
            return (format!("'{open}' is closed by '{close}'"), "every bracket needs its own kind");
        }
        K::UnclosedQuotedScalar | K::DocumentIndicatorInQuotedScalar => {
            ("a quote is opened and not closed", "close it")
        }
        K::InvalidTrailingSingleQuotedScalar | K::InvalidTrailingDoubleQuotedScalar => {
            ("text follows a closing quote", "put all of it in quotes, or none")
        }
        K::UnknownQuotedScalarEscape
        | K::InvalidQuotedScalarHexEscape
        | K::InvalidUnicodeEscape
        | K::InvalidLowSurrogateHexEscape
        | K::InvalidLowSurrogate
        | K::MissingLowSurrogate
        | K::UnpairedLowSurrogate => (
            "a backslash in double quotes begins no known escape",
            "use single quotes, which take it as it is",
        ),
        K::UnknownAnchor | K::MissingAnchorOrAliasName => (
            "'*' (or '&') begins an alias here, and no value of this file has that name",
            "put patterns in quotes: exclude: ['*fc*']",
        ),
        K::MappingValueNotAllowed | K::MappingKeyNotAllowed | K::InvalidColonPlacement => {
            ("a ':' stands where no key can be", IN_QUOTES)
        }
        K::RecursionLimitExceeded => ("nested too deeply", "experiments have fewer than ten levels"),
        K::UnexpectedCharacter { character } => {
            return (format!("'{character}' cannot begin a value"), IN_QUOTES);
        }
        K::PlainScalarStartsWithDashFlowIndicator | K::BlockEntryInFlowCollection => {
            ("'-' begins no entry inside of brackets", "separate the values by commas")
        }
        K::BlockSequenceEntryNotAllowed | K::InvalidBlockEntryWhitespace => {
            ("'-' begins no list entry here", "begin each entry of a list on a line of its own, with '- '")
        }
        K::SimpleKeyExpected
        | K::InvalidSimpleKey
        | K::InvalidIndentation
        | K::ExpectedBlockMappingKey
        | K::ExpectedBlockSequenceEntry
        | K::InvalidFlowScalarIndent
        | K::InvalidQuotedScalarIndent
        | K::UnexpectedEofBlockMapping
        | K::UnexpectedEofBlockSequence
        | K::UnexpectedEndOfPlainScalar => ("this line does not continue the lines before it", COLUMNS),
        K::InvalidBlockScalarIndent | K::ZeroBlockScalarIndent | K::InvalidBlockScalarHeader => (
            "the text behind '|' or '>' is indented wrongly",
            "indent all its lines by the same number of spaces",
        ),
        K::BomInsideDocument => ("a byte-order mark stands inside the file", "remove it"),
        K::ExpectedDocumentStart
        | K::MissingDocumentEndBeforeDirective
        | K::InvalidDocumentEnd
        | K::UnsupportedYamlMajorVersion
        | K::DuplicateVersionDirective
        | K::DuplicateTagDirective
        | K::MissingYamlVersion
        | K::MissingDirectiveName
        | K::InvalidDirectiveName
        | K::InvalidDirectiveTerminator
        | K::MissingYamlVersionSeparator => {
            ("a line that begins with '%' or '---' is not understood here", "remove it: it is not needed")
        }
        K::CommentNotSeparated | K::CommentInterceptedScalar => {
            ("a comment stands inside of a value", "put a space before '#', or the value in quotes")
        }
        _ => ("this is not valid YAML", COLUMNS),
    };
    (what.to_owned(), hint)
}
