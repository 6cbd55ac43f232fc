%% The work in Erlang, for peer_erlang.py: the function named by -work, which prints figures, each a
%% name and a number in a line. -count and -burst say how much; -peer names the node of the partner.
-module(peer_erlang).
-behaviour(gen_server).

-export([main/0, listener/0]).
-export([paced/0, burst/0, fan_out/0, processes/0]).
-export([bursts/0, ping_pong/0, calls/0, blobs/0]).
-export([count/2, idle/0, init/1, handle_call/3, handle_cast/2]).

-define(IN_FLIGHT, 100).

%% In a process of its own: what -s calls runs in that of init.
main() ->
    Work = list_to_atom(argument(work)),
    {Process, Monitor} = spawn_monitor(?MODULE, Work, []),
    receive
        {'DOWN', Monitor, process, Process, normal} -> halt();
        {'DOWN', Monitor, process, Process, Reason} -> exit(Reason)
    end.

%% --- of one node ---

paced() ->
    one_way(spawn_counter(node()), number(burst)).

burst() ->
    one_way(spawn_counter(node()), number(count)).

%% To one process after the other, each of which counts its part.
fan_out() ->
    Size = min(number(size), number(count)),
    Part = number(count) div Size,
    Self = self(),
    Receivers = [spawn(?MODULE, count, [Self, Part]) || _ <- lists:seq(1, Size)],
    Began = now_ns(),
    fan(Receivers, Receivers, Part * Size, 50),
    [receive done -> ok end || _ <- Receivers],
    rate(Part * Size, now_ns() - Began).

fan(_, _, 0, _) -> ok;
fan([], All, Left, Burst) -> fan(All, All, Left, Burst);
fan([Receiver | Others], All, Left, Burst) ->
    Receiver ! message(),
    Left rem Burst =:= 0 andalso erlang:yield(),
    fan(Others, All, Left - 1, Burst).

%% Processes started, then killed; over when the last is gone.
processes() ->
    Count = number(count),
    Before = erlang:system_info(process_count),
    Empty = erlang:memory(total),
    Began = now_ns(),
    All = [spawn(?MODULE, idle, []) || _ <- lists:seq(1, Count)],
    Made = now_ns(),
    Size = erlang:memory(total) - Empty,
    Killing = now_ns(),
    [exit(Process, kill) || Process <- All],
    wait_for_processes(Before),
    Killed = now_ns(),
    figure("create", Count * 1.0e9 / (Made - Began)),
    figure("kill", Count * 1.0e9 / (Killed - Killing)),
    figure("bytes", Size / Count).

idle() ->
    receive {tag, _, _} -> idle() end.

wait_for_processes(Count) ->
    case erlang:system_info(process_count) > Count of
        true -> erlang:yield(), wait_for_processes(Count);
        false -> ok
    end.

%% --- of two nodes ---

%% What the partner runs: it has a server for calls, and ends with its standard input.
listener() ->
    {ok, _} = gen_server:start({local, server}, ?MODULE, [], []),
    io:format("ready~n"),
    eof = io:get_line(""),
    halt().

init([]) -> {ok, none}.

handle_call({call, Number, Text}, _From, State) -> {reply, {reply, Number, Text}, State};
handle_call({start, Client, Count}, _From, State) ->
    {reply, spawn(?MODULE, count, [Client, Count]), State}.

handle_cast(_, State) -> {noreply, State}.

bursts() ->
    one_way(spawn_counter(join()), number(burst)).

ping_pong() ->
    Counter = spawn_counter(join()),
    Count = number(count),
    Times = lists:sort(lists:nthtail(Count div 10, trips(Counter, Count + Count div 10))),
    figure("median", lists:nth(Count div 2 + 1, Times) / 1000),
    figure("p99", lists:nth(Count * 99 div 100 + 1, Times) / 1000).

trips(_, 0) -> [];
trips(Counter, Left) ->
    {tag, Number, Text} = message(),
    Began = now_ns(),
    Counter ! {ping, self(), Number, Text},
    receive {pong, _, _} -> ok end,
    Time = now_ns() - Began,
    [Time | trips(Counter, Left - 1)].

calls() ->
    Server = {server, join()},
    Part = number(count) div ?IN_FLIGHT,
    Self = self(),
    Caller = fun() -> call(Server, Part), Self ! done end,
    Began = now_ns(),
    [spawn(Caller) || _ <- lists:seq(1, ?IN_FLIGHT)],
    [receive done -> ok end || _ <- lists:seq(1, ?IN_FLIGHT)],
    rate(Part * ?IN_FLIGHT, now_ns() - Began).

call(_, 0) -> ok;
call(Server, Left) ->
    {tag, Number, Text} = message(),
    {reply, Number, Text} = gen_server:call(Server, {call, Number, Text}, infinity),
    call(Server, Left - 1).

blobs() ->
    Counter = spawn_counter(join()),
    Blob = binary:copy(<<0>>, 1024 * 1024),
    Began = now_ns(),
    send(Counter, {tag, Blob}, number(count), 1),
    receive done -> ok end,
    figure("bytes", number(count) * byte_size(Blob) * 1.0e9 / (now_ns() - Began)).

join() ->
    Node = list_to_atom(argument(peer)),
    true = net_kernel:connect_node(Node),
    Node.

%% --- of both ---

spawn_counter(Node) when Node =:= node() -> spawn(?MODULE, count, [self(), number(count)]);
spawn_counter(Node) -> gen_server:call({server, Node}, {start, self(), number(count)}).

%% Counts messages, and tells the client when all are there; gives back pings.
count(Client, 0) -> Client ! done;
count(Client, Left) ->
    receive
        {tag, _, _} -> count(Client, Left - 1);
        {tag, Blob} when byte_size(Blob) =:= 1024 * 1024 -> count(Client, Left - 1);
        {ping, Sender, Number, Text} -> Sender ! {pong, Number, Text}, count(Client, Left)
    end.

one_way(Receiver, Burst) ->
    Count = number(count),
    Began = now_ns(),
    send(Receiver, message(), Count, Burst),
    receive done -> ok end,
    rate(Count, now_ns() - Began).

%% So many at a time; then whoever else has something to do may do it.
send(_, _, 0, _) -> ok;
send(Receiver, Message, Left, Burst) ->
    Receiver ! Message,
    Left rem Burst =:= 0 andalso erlang:yield(),
    send(Receiver, Message, Left - 1, Burst).

message() -> {tag, 1, <<"abcdefghijklmnopqrstuvwxyz012345">>}.

now_ns() -> erlang:monotonic_time(nanosecond).

rate(Count, Time) -> figure("rate", Count * 1.0e9 / Time).

figure(Name, Number) -> io:format("~s ~.3f~n", [Name, float(Number)]).

argument(Name) ->
    {ok, [[Value]]} = init:get_argument(Name),
    Value.

number(Name) -> list_to_integer(argument(Name)).
