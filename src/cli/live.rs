//! `--watch` of `get` and `list`: in a terminal the view is drawn again in place; into a file or a
//! pipe it is printed again when something has changed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::{cursor, execute, terminal};
use futures::StreamExt as _;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::error::CliError;
use super::exit::Exit;
use super::output::Console;
use super::text::{Line, Span, Tone};
use super::watch::{News, NewsStream};

/// Shortest time between two drawings, so that a burst of news is one change.
const QUIET: Duration = Duration::from_millis(150);
/// How often a terminal is drawn again without news, since ages grow.
const REFRESH: Duration = Duration::from_secs(1);

/// What is shown, and how news change it.
pub(super) trait Scene {
    /// What is on show, in its stable shape.
    type View: Serialize + PartialEq;

    /// Takes news in.
    fn take(&mut self, news: News);

    /// Why it may be out of date.
    fn lost(&self) -> Option<&str>;

    /// What is on show now; `None` when there is nothing left to show.
    ///
    /// # Errors
    /// [`CliError::Malformed`].
    fn view(&self) -> Result<Option<Self::View>, CliError>;

    /// The view for people.
    fn lines(&self, view: &Self::View, now: DateTime<Utc>) -> Vec<Line>;
}

/// Keeps the view up to date until the user ends it or nothing is left of it.
pub(super) async fn run(
    console: &mut Console<'_>,
    scene: impl Scene,
    news: NewsStream,
) -> Result<Exit, CliError> {
    if console.terminal.is_interactive && console.format.is_none() {
        interactive(console, scene, news).await
    } else {
        printed(console, scene, news).await
    }
}

async fn printed<S: Scene>(
    console: &mut Console<'_>,
    mut scene: S,
    mut news: NewsStream,
) -> Result<Exit, CliError> {
    let mut shown: Option<S::View> = None;
    let mut told_lost = false;
    loop {
        let Some(view) = scene.view()? else {
            return gone(console);
        };
        if shown.as_ref() != Some(&view) {
            print_one(console, &scene, &view, shown.is_none())?;
            shown = Some(view);
        }
        if let Some(why) = scene.lost().filter(|_| !told_lost) {
            console.say(&format!("the watch broke and is begun again: {why}"))?;
        }
        told_lost = scene.lost().is_some();
        tokio::select! {
            piece = news.next() => match piece {
                Some(piece) => scene.take(piece),
                None => return Ok(Exit::Done),
            },
            () = interrupted() => return Ok(Exit::Done),
        }
        let quiet = tokio::time::sleep(QUIET);
        tokio::pin!(quiet);
        loop {
            tokio::select! {
                piece = news.next() => match piece {
                    Some(piece) => scene.take(piece),
                    None => break,
                },
                () = &mut quiet => break,
            }
        }
    }
}

fn print_one<S: Scene>(
    console: &mut Console<'_>,
    scene: &S,
    view: &S::View,
    is_first: bool,
) -> Result<(), CliError> {
    if let Some(format) = console.format {
        return console.document(view, format);
    }
    let now = (console.now)();
    if !is_first {
        writeln!(console.out, "\n--- {}", now.format("%Y-%m-%dT%H:%M:%SZ"))?;
    }
    console.lines(&scene.lines(view, now))?;
    Ok(console.out.flush()?)
}

fn gone(console: &mut Console<'_>) -> Result<Exit, CliError> {
    console.say("the Rollout was deleted")?;
    Ok(Exit::Failed)
}

async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a handler the signal ends the process by itself.
        std::future::pending::<()>().await;
    }
}

/// What the user did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    End,
    Up,
    Down,
    Redraw,
}

async fn interactive(
    console: &mut Console<'_>,
    mut scene: impl Scene,
    mut news: NewsStream,
) -> Result<Exit, CliError> {
    let screen = Screen::enter()?;
    let (inputs, mut typed) = mpsc::channel(16);
    let reader = std::thread::spawn({
        let is_over = Arc::clone(&screen.is_over);
        move || read_inputs(&is_over, &inputs)
    });
    let mut refresh = interval_at(Instant::now(), REFRESH);
    refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut offset = 0usize;
    let mut lines = Vec::new();
    let exit = loop {
        let Some(view) = scene.view()? else { break Exit::Failed };
        lines = scene.lines(&view, (console.now)());
        let (width, height) = terminal::size().unwrap_or((80, 24));
        let has_color = console.terminal.has_color;
        let size = (usize::from(width), usize::from(height));
        let drawn = frame(&lines, scene.lost(), &mut offset, size, has_color);
        console.out.write_all(drawn.as_bytes())?;
        console.out.flush()?;
        tokio::select! {
            piece = news.next() => match piece {
                Some(piece) => scene.take(piece),
                None => break Exit::Done,
            },
            input = typed.recv() => match input {
                Some(Input::End) | None => break Exit::Done,
                Some(Input::Up) => offset = offset.saturating_sub(1),
                Some(Input::Down) => offset = offset.saturating_add(1),
                Some(Input::Redraw) => {}
            },
            _ = refresh.tick() => {}
            () = interrupted() => break Exit::Done,
        }
        while let Some(Some(piece)) = futures::FutureExt::now_or_never(news.next()) {
            scene.take(piece);
        }
    };
    drop(screen);
    drop(typed);
    // It ends by itself at its next look at the flag.
    drop(reader);
    // What was last seen stays readable after the alternate screen is gone.
    console.lines(&lines)?;
    if exit == Exit::Failed { gone(console) } else { Ok(exit) }
}

/// The alternate screen in raw mode; left whatever happens.
struct Screen {
    is_over: Arc<AtomicBool>,
}

impl Screen {
    fn enter() -> Result<Self, CliError> {
        terminal::enable_raw_mode()?;
        let screen = Self { is_over: Arc::new(AtomicBool::new(false)) };
        execute!(io::stdout(), terminal::EnterAlternateScreen, cursor::Hide)?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Nothing can be done about a terminal that is gone.
        let _left = execute!(io::stdout(), cursor::Show, terminal::LeaveAlternateScreen);
        let _cooked = terminal::disable_raw_mode();
    }
}

fn read_inputs(is_over: &AtomicBool, inputs: &mpsc::Sender<Input>) {
    while !is_over.load(Ordering::Relaxed) {
        match event::poll(Duration::from_millis(100)) {
            Ok(false) => continue,
            Ok(true) => {}
            Err(_) => return,
        }
        let Ok(event) = event::read() else { return };
        if let Some(input) = meaning(&event)
            && inputs.blocking_send(input).is_err()
        {
            return;
        }
    }
}

fn meaning(event: &Event) -> Option<Input> {
    match event {
        Event::Resize(..) => Some(Input::Redraw),
        Event::Key(key) if key.kind != KeyEventKind::Release => match key.code {
            KeyCode::Char('q') | KeyCode::Esc => Some(Input::End),
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Input::End),
            KeyCode::Up | KeyCode::Char('k') => Some(Input::Up),
            KeyCode::Down | KeyCode::Char('j') => Some(Input::Down),
            _ => None,
        },
        _ => None,
    }
}

/// One drawing of the whole screen: the lines from `offset` on, and a last line that says what can
/// be done. Every row is overwritten and cleared to its end, so that nothing flickers.
fn frame(
    lines: &[Line],
    lost: Option<&str>,
    offset: &mut usize,
    (width, height): (usize, usize),
    has_color: bool,
) -> String {
    let room = height.saturating_sub(1);
    *offset = (*offset).min(lines.len().saturating_sub(room));
    let mut out = String::from("\x1b[H");
    for line in lines.iter().skip(*offset).take(room) {
        out.push_str(&line.paint(has_color, width));
        out.push_str("\x1b[K\r\n");
    }
    let below = lines.len().saturating_sub(*offset + room);
    let mut text = "q ends".to_owned();
    if *offset > 0 || below > 0 {
        text = format!("{text}, arrows scroll ({} above, {below} below)", *offset);
    }
    let foot = match lost {
        Some(why) => Span::toned(Tone::Bad, format!("connection lost, trying again: {why}")),
        None => Span::toned(Tone::Dim, text),
    };
    out.push_str(&Line(vec![foot]).paint(has_color, width));
    out.push_str("\x1b[K\x1b[J");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossterm::event::KeyEvent;

    fn lines(count: usize) -> Vec<Line> {
        (0..count).map(|idx| Line::text(format!("line {idx}"))).collect()
    }

    #[test]
    fn a_frame_never_has_more_rows_than_the_terminal() {
        let mut offset = 0;
        let drawn = frame(&lines(50), None, &mut offset, (40, 10), false);
        assert_eq!(drawn.matches("\r\n").count(), 9);
        assert!(drawn.contains("line 8") && !drawn.contains("line 9\x1b"), "{drawn:?}");
        assert!(drawn.contains("0 above, 41 below"), "{drawn:?}");
    }

    #[test]
    fn scrolling_stops_at_the_last_line() {
        let mut offset = 99;
        let drawn = frame(&lines(12), None, &mut offset, (40, 10), false);
        assert_eq!(offset, 3);
        assert!(drawn.contains("line 11"), "{drawn:?}");
    }

    #[test]
    fn a_lost_connection_is_told_in_words() {
        let drawn = frame(&lines(1), Some("refused"), &mut 0, (60, 10), false);
        assert!(drawn.contains("connection lost, trying again: refused"), "{drawn:?}");
    }

    #[test]
    fn q_escape_and_control_c_end_the_view() {
        let key = |code, modifiers| Event::Key(KeyEvent::new(code, modifiers));
        for (code, modifiers) in [
            (KeyCode::Char('q'), KeyModifiers::NONE),
            (KeyCode::Esc, KeyModifiers::NONE),
            (KeyCode::Char('c'), KeyModifiers::CONTROL),
        ] {
            assert_eq!(meaning(&key(code, modifiers)), Some(Input::End));
        }
        assert_eq!(meaning(&key(KeyCode::Char('x'), KeyModifiers::NONE)), None);
    }
}
