//! Plans: which runs experiments ask for and what a store has of them ([`plan()`]), how long the rest may take
//! ([`estimate`]), and the file that engines work through ([`Plan`]). Nothing here prints or trains.

pub mod estimate;
mod file;
mod planned;

pub use file::{Plan, PlannedBaseline, PlannedRun, Wave, parse};
pub use planned::{
    Depth, Planned, Planning, Resolve, Selection, State, draws_published, figure_style, figures, load, plan,
};
