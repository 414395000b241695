"""The live report: what is answered, to whom, and that nothing else of the disk can be reached."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from http.client import HTTPConnection
from urllib.parse import quote

import pytest

from reasoning_anatomy.cli import main
from reasoning_anatomy.errors import RunError
from reasoning_anatomy.run.layout import file_stem
from reports import serve, write_report
from reports._server import ReportServer

SECRET = "the content of another file"


@pytest.fixture(scope="session")
def live(make_full_run, chains):
    """Serve a run whose folder holds files, and links to files, that are none of the pages."""
    run = make_full_run(chains)
    (run.folder / "report").mkdir()
    for name in ("secret.html", "report/secret.html", "index.html"):
        (run.folder / name).write_text(SECRET)
    (run.folder / "link.html").symlink_to("/etc/passwd")
    (run.folder / "report" / "link.html").symlink_to(run.folder / "run.json")
    before = files_of(run.folder)
    with ReportServer(run, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server, run
        server.shutdown()
        thread.join()
    assert files_of(run.folder) == before, "nothing is written into a run that is shown"


def files_of(folder):
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}


def page_of(chain_id):
    return f"/report/{file_stem(chain_id)}.html"


def ask(server, path, *, method="GET", host=None):
    """Ask for a path as it stands, as no browser would."""
    connection = HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    with contextlib.closing(connection):
        connection.putrequest(method, "/", skip_host=True, skip_accept_encoding=True)
        connection._buffer[0] = f"{method} ".encode() + path.encode("latin-1") + b" HTTP/1.1"
        for name in [f"127.0.0.1:{server.server_address[1]}"] if host is None else host:
            connection.putheader("Host", name)
        connection.endheaders()
        response = connection.getresponse()
        return response.status, dict(response.headers), response.read().decode()


def test_the_first_page_has_results_and_links_to_a_page_of_every_chain(live, tmp_path):
    server, run = live
    status, headers, html = ask(server, "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    written = write_report(run, tmp_path / "report.html", max_chains=0)
    assert html == written.read_text(encoding="utf-8"), "there is one way to make a page"
    links = re.findall(r'<a href="(report/[^"]+)">(chain-\d)</a>', html)
    assert [chain_id for _, chain_id in links] == list(run.chains)
    for link, chain_id in links:
        status, _, html = ask(server, f"/{link}")
        assert status == 200
        assert html.count('<article class="chain') == 1
        of_file = (tmp_path / link).read_text(encoding="utf-8")
        assert html == of_file.replace("../report.html#index", "../#index")
        assert f">{chain_id}</h3>" in html


@pytest.mark.parametrize(
    "path",
    [
        "/..", "/../", "/../run.json", "/report/../run.json", "/report/../../../../../../etc/passwd",
        "/report/..%2f..%2fetc/passwd", "/report/%2e%2e/run.json", "/%2e%2e%2frun.json", "/report%2fsecret.html",
        "/report/%2Fetc%2Fpasswd", "/..%5crun.json", "/..\\run.json", "/%252e%252e/run.json", "/etc/passwd", "//etc/passwd",
        "/report//etc/passwd", "file:///etc/passwd", "http://127.0.0.1/etc/passwd", "/run.json", "/./run.json", "/report.html",
        "/index.html", "/secret.html", "/report/secret.html", "/report", "/report/", "/report/.html", "/link.html",
        "/report/link.html", "/chains.jsonl", "/report/secret.html%00.html", "/\x00", "/report/\x00", "/?/run.json", "/#",
        "/report/?x", "*", "/%", "/\xff", "/%c0%ae%c0%ae/run.json", "/report/" + "a" * 5000, "/favicon.ico",
        "/report/" + quote("chain-0") + ".html",
    ],
    ids=ascii,
)  # fmt: skip
def test_nothing_else_is_there(live, path):
    server, run = live
    status, _, text = ask(server, path)
    assert status in {400, 404}
    for secret in (SECRET, "root:", '"configuration"', str(run.folder)):
        assert secret not in text


@pytest.mark.parametrize("change", ["/x{}", "{}/", "{}?", "{}%00", "/.{}", "/report/..{}", "{}#a", "/REPORT{}"])
def test_a_page_has_one_address(live, change):
    server, _ = live
    assert ask(server, change.format(page_of("chain-0")))[0] in {400, 404}


@pytest.mark.parametrize(
    "host",
    [
        [], [""], ["evil.example"], ["evil.example:8765"], ["127.0.0.1.evil.example"], ["localhost.evil.example"],
        ["evil.example", "127.0.0.1"], ["127.0.0.1", "evil.example"], ["127.0.0.1@evil.example"], ["0.0.0.0"], ["[::1]"],
        ["127.0.0.1:"], ["localhost:80x"], ["xlocalhost"], ["127.0.0.2"],
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("path", ["/", page_of("chain-1")])
def test_a_name_that_was_made_to_mean_this_machine_is_refused(live, host, path):
    server, _ = live
    status, _, text = ask(server, path, host=host)
    assert status == 403
    assert "chain-" not in text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "localhost:1234", "127.0.0.1:65535"])
def test_names_of_this_machine_are_answered_behind_any_port(live, host):
    assert ask(live[0], "/", host=[host])[0] == 200, "ssh -L may have another one"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get"])
def test_pages_can_be_read_and_nothing_can_be_done_to_them(live, method):
    status, _, text = ask(live[0], "/", method=method)
    assert status == 501
    assert "chain-" not in text


def test_the_head_of_a_page_says_what_the_page_would(live):
    for path in ("/", page_of("chain-2")):
        _, headers, html = ask(live[0], path)
        status, of_head, nothing = ask(live[0], path, method="HEAD")
        assert (status, nothing) == (200, "")
        assert of_head["Content-Length"] == headers["Content-Length"] == str(len(html.encode()))
        assert of_head["X-Content-Type-Options"] == "nosniff"
        assert of_head["X-Frame-Options"] == "DENY"
        assert "Python" not in of_head["Server"]
        assert """http-equiv="Content-Security-Policy" content="default-src 'none';""" in html


def test_no_id_of_a_chain_becomes_a_path(make_planted_run, chains, tmp_path):
    ids = ["../../etc/passwd", "/etc/passwd", "a/b?c#d", "\u202e", "..", "x\x00y"]
    run = make_planted_run(tmp_path / "run", [chains[0].model_copy(update={"chain_id": each}) for each in ids])
    with ReportServer(run, 0) as server:
        assert all(server.page(page_of(each)) for each in ids)
        assert all(server.page(f"/report/{each}.html") is None for each in ids)


def test_only_this_machine_is_listened_to(live):
    assert live[0].server_address[0] == "127.0.0.1"


def test_two_readers_at_once_and_one_who_goes_away(live, capfd):
    server, _ = live
    pages = []
    readers = [threading.Thread(target=lambda: pages.append(ask(server, page_of("chain-3"))[0])) for _ in range(12)]
    for reader in readers:
        reader.start()
    with socket.create_connection(server.server_address[:2]) as gone:
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        gone.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    for reader in readers:
        reader.join()
    assert pages == [200] * 12
    assert ask(server, "/")[0] == 200
    assert capfd.readouterr() == ("", "")


def test_a_port_that_is_taken_is_one_line_with_the_remedy(live, monkeypatch, capsys):
    server, run = live
    port = server.server_address[1]
    monkeypatch.setattr(sys, "argv", ["reasoning-anatomy", "view", str(run.folder), "--port", str(port), "--no-browser"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(rf"error: port {port} of 127\.0\.0\.1: .+; name another one, or port 0 for one that is free", line)
    with pytest.raises(RunError, match="ports are 0 to 65535"):
        serve(run, port=70_000)


def test_the_command_says_where_it_is_and_ends_when_it_is_interrupted(live):
    _, run = live
    arguments = [
        sys.executable,
        "-c",
        "from reasoning_anatomy.cli import main; main()",
        "view",
        str(run.folder),
        "--port",
        "0",
        "--no-browser",
    ]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "MPLBACKEND": "agg"}
    ) as process:
        line = process.stdout.readline()
        port = int(re.fullmatch(r"Open the report: http://127\.0\.0\.1:(\d+)/\n", line)[1])
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        assert process.stdout.readline() == "It is there until you press Ctrl-C.\n"
        process.send_signal(signal.SIGINT)
        said, complained = process.communicate(timeout=20)
    assert (said, complained, process.returncode) == ("", "", 0)


def test_the_browser_is_opened_where_the_report_is(live, monkeypatch, capsys):
    _, run = live
    opened = []

    def interrupt(address):
        opened.append(address)
        raise KeyboardInterrupt

    monkeypatch.setattr("webbrowser.open", interrupt)
    monkeypatch.setattr(sys, "argv", ["reasoning-anatomy", "view", str(run.folder), "--port", "0"])
    main()
    assert [f"Open the report: {opened[0]}", "It is there until you press Ctrl-C."] == capsys.readouterr().out.splitlines()


def test_a_chain_is_read_and_left_again_in_a_browser(live, open_any_page):
    server, run = live
    there = f"{server.address}{page_of('chain-3')[1:]}"
    page = open_any_page(server.address, leads_to=[there])
    assert page.inner_text("#findings h2") == "What was found"
    page.click("#index a >> text=chain-3")
    page.wait_for_selector(".chain.active")
    assert page.url == there
    rows = run.tokens().query("chain_id == 'chain-3'").sort_values("position")
    assert page.locator(".chain.active .tokens span").all_text_contents() == rows["text"].tolist()
    page.focus("#step")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#reading").startswith("step 1 of ")
    page.click("nav a >> text=Results and all chains")
    assert page.url == f"{server.address}#index"
    page.wait_for_selector("#index tbody tr")
    assert page.locator("#index tbody tr").count() == len(run.chains)
