"""A live run, day after day: what is played, what happens between days, when it is over."""

import argparse
import asyncio
import itertools
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import numpy as np
from rich.console import Console

from shared.exposure import make_authorization
from simulator.adapters.patient_http import ServiceError
from simulator.adapters.pictures import draw_rewards
from simulator.adapters.progress import RunProgress
from simulator.commands.deciding import Decider
from simulator.commands.output import Recording, open_recording
from simulator.commands.playing import Run, Stage, open_stage, play_here
from simulator.commands.processes import play_in_processes
from simulator.commands.report import show_json, show_summary
from simulator.commands.tally import Tally
from simulator.core.dynamics import EpisodeArray
from simulator.days import Retraining, open_laboratory, retrain
from simulator.live import episodes_of_day
from simulator.settings import Settings

_INTERRUPTED = 130  # as a shell reports SIGINT


def run_days(arguments: argparse.Namespace, console: Console, settings: Settings) -> int:
    """Play days until they are over, an experiment is decided, a service fails or Ctrl-C."""
    run = Run(
        settings=settings,
        recommender=arguments.recommender,
        seed=arguments.seed,
        concurrency=arguments.concurrency,
        run_id=uuid.uuid4().hex[:12],
        rate=arguments.rate,
        arrivals=arguments.arrivals,
    )
    stage = open_stage(settings)
    served_by = settings.recommender.url if run.recommender == "remote" else run.recommender
    with open_recording(arguments, settings, recommender=served_by) as recording:
        campaign = Campaign(arguments, run, stage, console=console, recording=recording)
        try:
            return campaign.play()
        finally:
            campaign.draw()


class Campaign:
    """Days of a live run."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        run: Run,
        stage: Stage,
        *,
        console: Console,
        recording: Recording,
    ) -> None:
        """Take what the command says.

        Args:
            arguments: Of the command.
            run: What to play.
            stage: Its world.
            console: Standard output, for summaries; the rest goes to standard error.
            recording: Gets each session.
        """
        self._arguments = arguments
        self._run = run
        self._stage = stage
        self._console = console
        self._talk = Console(stderr=True, soft_wrap=True, highlight=False)
        self._recording = recording
        self._tallies: list[Tally] = []
        self._decider: Decider | None = None
        if arguments.until is not None:
            most = arguments.episodes * arguments.days
            self._decider = Decider(
                run.settings,
                arguments.until,
                alpha=arguments.alpha,
                most_sessions=most,
                since=datetime.now(UTC),
            )

    def play(self) -> int:
        """Play; return the exit code."""
        for day in self._count_days():
            if day > 0 and self._arguments.retrain and (code := self._retrain(day)):
                return code
            if code := self._play_day(day):
                return code
            if self._decider is not None and self._decider.is_decided:
                break
        self._recording.finish()
        return 0

    def draw(self) -> None:
        """Draw the reward curves, if they are asked for and there are any."""
        curves = [curve for tally in self._tallies for curve in tally.make_curves()]
        if self._arguments.picture is not None and curves:
            title = f"Rewards of seed {self._run.seed}"
            draw_rewards(self._arguments.picture, curves, title=title)
            self._talk.print(f"reward curves: {self._arguments.picture}", markup=False)

    def _play_day(self, day: int) -> int:
        """Play a day and show what it came to, whole or not; return the exit code."""
        arguments = self._arguments
        episodes = episodes_of_day(day, arguments.episodes)
        tally = Tally(
            day + 1,
            catalog=self._stage.catalog,
            recording=self._recording,
            by=arguments.by or arguments.until,
        )
        self._tallies.append(tally)
        code = 0
        try:
            with RunProgress(
                self._progress_console(), "episodes", total=len(episodes), unit="episodes"
            ) as progress:
                self._play_episodes(episodes, progress, tally)
        except KeyboardInterrupt:
            self._talk.print("interrupted", markup=False)
            code = _INTERRUPTED
        except ServiceError as error:
            self._talk.print(f"error: {error}", markup=False)
            code = 1
        title = f"day {day + 1}"
        if code:
            title += f", partial: {len(tally.results)} of {len(episodes)}"
        rate = self._run.rate
        show_summary(
            self._console,
            tally.summarise(),
            title=title,
            style=arguments.format,
            parts=tally.summarise_parts(),
            open_loop=None if rate is None else tally.summarise_open_loop(rate),
        )
        return code

    def _progress_console(self) -> Console:
        """Return where progress is shown: nowhere that a person is typing."""
        if self._run.recommender == "console":
            return Console(quiet=True, force_terminal=False)
        return self._talk

    def _play_episodes(self, episodes: EpisodeArray, progress: RunProgress, tally: Tally) -> None:
        arguments = self._arguments
        if arguments.processes > 1:
            play_in_processes(
                self._run, episodes, arguments.processes, progress=progress, tally=tally
            )
            return
        if self._decider is None:
            play_here(self._run, self._stage, episodes, progress=progress, tally=tally)
            return
        for chunk in _cut(episodes, arguments.peek):
            play_here(self._run, self._stage, chunk, progress=progress, tally=tally)
            verdict = asyncio.run(self._decider.look(len(chunk), say=progress.say))
            progress.say(self._decider.describe(verdict))
            if verdict.is_reached:
                return

    def _retrain(self, day: int) -> int:
        """Train on the log so far; return the exit code."""
        try:
            trained = asyncio.run(self._train())
        except KeyboardInterrupt:
            self._talk.print("interrupted; the training goes on at the trainer", markup=False)
            return _INTERRUPTED
        except ServiceError as error:
            self._talk.print(f"error: {error}", markup=False)
            return 1
        if self._arguments.format == "json":
            values = msgspec.to_builtins(trained)
            show_json(self._console, {"title": f"after day {day}", **values})
        else:
            self._console.print(f"after day {day}: {trained}", markup=False)
        return 0

    async def _train(self) -> Retraining:
        settings = self._run.settings
        recipe = self._arguments.recipe

        def say(word: str) -> None:
            self._talk.print(word, markup=False)

        async with open_laboratory(
            recommender=settings.recommender.url,
            logger=settings.logger.url,
            trainer=settings.trainer.url,
            timeout_s=settings.recommender.timeout_s,
            patience_s=settings.recommender.patience_s,
            say=say,
            headers=make_authorization(settings.api_token),
        ) as laboratory:
            return await retrain(
                laboratory,
                order={} if recipe is None else {"recipe": recipe},
                timeout_s=settings.trainer.follow_s,
                say=say,
            )

    def _count_days(self) -> Iterator[int]:
        """Count days from 0: as many as said, or as a person at the terminal wants."""
        if self._arguments.days is not None:
            yield from range(self._arguments.days)
            return
        for day in itertools.count():
            yield day
            if not sys.stdin.isatty():
                return
            try:
                answer = self._console.input(f"Day {day + 1} is over. Continue? \\[y/n] ")
            except (EOFError, KeyboardInterrupt):
                return
            if not answer.strip().lower().startswith("y"):
                return


def _cut(episodes: EpisodeArray, size: int) -> list[EpisodeArray]:
    return np.split(episodes, range(size, len(episodes), size))
