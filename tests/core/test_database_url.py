"""URLs of databases: libpq's forms in one spelling, and errors that name what is wrong without a part of the URL."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_api.core.database_url import DatabaseUrl, parse, postgresql_url

SECRET = "hunter2"
NOT_A_URL = "not a database URL; expected postgresql://user:password@host:5432/name, with special characters of the"


@pytest.mark.parametrize(
    ("written", "spelled"),
    [
        ("postgres://u:p@h/d", "postgresql://u:p@h/d"),
        ("postgresql+asyncpg://u:p%23%2F%3F%40%25@h:1/d", "postgresql://u:p%23%2F%3F%40%25@h:1/d"),
        ("postgresql://u:p[^|:+&=ä@h/d", "postgresql://u:p%5B%5E%7C%3A%2B%26%3D%C3%A4@h/d"),
        ("postgresql://", "postgresql://"),
        ("postgresql:///d", "postgresql:///d"),
        ("postgresql://h", "postgresql://h"),
        ("postgresql://u:@h/d", "postgresql://u:@h/d"),
        ("postgresql://[::1]:5/d", "postgresql://[::1]:5/d"),
        ("postgresql://[::1],[::2]:3/d", "postgresql:///d?host=::1,::2&port=5432,3"),
        ("postgresql://u@%2Frun%2Fa%20b:1/d", "postgresql://u@/d?host=/run/a%20b&port=1"),
        ("postgresql://u@/d?host=/run/a", "postgresql://u@/d?host=/run/a"),
        # What libpq takes from the query is written where all programs look for it.
        ("postgresql://?host=h&port=1&user=u&password=p%2B+&dbname=d", "postgresql://u:p%2B%2B@h:1/d"),
        ("postgresql://h/d?ssl=true", "postgresql://h/d?sslmode=require"),
        ("postgresql://h/d?options=-c%20geqo%3Doff", "postgresql://h/d?options=-c%20geqo%3Doff"),
        ("postgresql://h/d?channel_binding=&connect_timeout=10", "postgresql://h/d?connect_timeout=10"),
        ("postgresql://h/d?channel_binding=prefer&gssencmode=disable", None),
        ("postgresql://h/d?keepalives_idle=30&tcp_user_timeout=5000&application_name=po-2", None),
        # Older versions of libpq do not know these, and they mean what is done anyway.
        ("postgresql://h/d?load_balance_hosts=disable&sslsni=1&sslcertmode=allow", "postgresql://h/d"),
        (
            "postgresql://h/d?client_encoding=utf8&ssl_min_protocol_version=tlsv1.3",
            "postgresql://h/d?client_encoding=UTF8&ssl_min_protocol_version=TLSv1.3",
        ),
    ],
)
def test_every_form_has_one_spelling(written: str, spelled: str | None) -> None:
    assert postgresql_url(written) == (spelled or written)
    assert postgresql_url(postgresql_url(written)) == (spelled or written)


@pytest.mark.parametrize("character", list("#/?@% \t\n\x00\x7f"))
@pytest.mark.parametrize("where", ["{}hunter2", "hunter2{}", "12{}hunter2", "12{}hunter2=1", "hunter2{}a&b=c"])
@pytest.mark.parametrize("rest", ["h/d", "h:5432/d?sslmode=require", "a:1,b:2/d"])
def test_a_password_that_is_not_percent_encoded_is_refused(character: str, where: str, rest: str) -> None:
    with pytest.raises(ValueError, match=r"^not a database URL") as caught:
        parse(f"postgresql://u:{where.format(character)}@{rest}")
    assert str(caught.value).startswith(NOT_A_URL)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mysql://u:hunter2@h/d", "only PostgreSQL is supported: postgresql://user:password@host:5432/name"),
        ("hunter2:x://u@h/d", "only PostgreSQL is supported"),
        ("postgresql:hunter2", NOT_A_URL),
        ("postgresql://h:hunter2/d", NOT_A_URL),
        ("postgresql://h:0/d", NOT_A_URL),
        ("postgresql://h:65536/d", NOT_A_URL),
        ("postgresql://[hunter2]/d", NOT_A_URL),
        ("postgresql://[::1/d", NOT_A_URL),
        ("postgresql://h/d?hunter2", NOT_A_URL),
        ("postgresql://a,b/d?port=1,2,3", "the parameter port must have one value, or one for each host"),
        ("postgresql:///d?port=1", "the parameter port requires a host"),
        ("postgresql://h/d?hunter2=1", "parameter 1 of the query is not one of libpq's; settings of the server are"),
        ("postgresql://h/d?sslmode=require&search_path=hunter2", "parameter 2 of the query is not one of libpq's"),
        ("postgresql://h/d?sslmode=require&sslmode=hunter2", "the parameter sslmode appears more than once"),
        ("postgresql://u@h/d?user=hunter2", "the parameter user contradicts the part of the URL before it"),
        ("postgresql://h/d?dbname=hunter2", "the parameter dbname contradicts"),
        ("postgresql://h/d?host=hunter2", "the parameter host contradicts"),
        ("postgresql://h/d?channel_binding=require", "the parameter channel_binding must be prefer or disable: the"),
        ("postgresql://h/d?gssencmode=require", "the parameter gssencmode must be prefer or disable: the driver"),
        ("postgresql://h/d?connect_timeout=hunter2", "the parameter connect_timeout must be a whole number of at most"),
        ("postgresql://h/d?keepalives_count=128", "the parameter keepalives_count must be a whole number of at most"),
        ("postgresql://h/d?require_auth=scram-sha-256", "the parameter require_auth is not supported: use sslmode="),
        ("postgresql://h/d?hostaddr=127.0.0.1", "the parameter hostaddr is not supported: use host"),
        ("postgresql://h/d?ssl=hunter2", "the parameter ssl is not supported: use sslmode"),
        ("postgresql://h/d?load_balance_hosts=random", "the parameter load_balance_hosts must be disable"),
        ("postgresql://h/d?sslrootcert=system", "the parameter sslrootcert must be a file, such as /etc/ssl/certs/"),
        ("postgresql://h/d?sslnegotiation=direct", "the parameter sslnegotiation=direct requires sslmode=require"),
    ],
)
def test_what_is_wrong_is_named_without_a_part_of_the_url(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r".+") as caught:
        parse(url)
    assert str(caught.value).startswith(reason)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


@given(
    user=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1),
    password=st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    database=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    hosts=st.lists(
        st.tuples(st.sampled_from(["db", "10.0.0.1", "::1", "/run/a b"]), st.integers(1, 65535)), max_size=3
    ),
)
def test_a_url_is_read_as_it_was_written(
    user: str, password: str | None, database: str, hosts: list[tuple[str, int]]
) -> None:
    url = DatabaseUrl(user, password, tuple(hosts), database, {"sslmode": "require"})
    assert parse(str(url)) == url
    assert SECRET not in repr(DatabaseUrl(user, SECRET, (), database, {}))
