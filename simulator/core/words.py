"""Words that names of artists, titles and genres are made of."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


GIVEN_NAMES = _words(
    "Ada Agnes Aisha Alba Alexei Alma Amara Amelia Ana Anders Andrea Anika Anton Arthur Astrid "
    "August Beatriz Ben Bianca Boris Bruno Camille Carlos Carmen Cecilia Clara Claude Conrad Cora "
    "Dana Daniel Daria David Diego Dina Dora Edith Edna Elena Eli Elias Elif Elsa Emil Emma Enzo "
    "Erik Esther Eva Farid Felix Fiona Florence Frank Frida Gabriel George Gloria Grace Greta "
    "Hana Hannah Harold Hassan Hector Helen Henrik Hugo Ida Igor Ines Ingrid Irene Iris Isaac "
    "Ivan Jack Jana Jasper Joan Joel Jonas Josephine Juan Judith Julia Kai Karim Kate Keiko Kofi "
    "Lars Laura Layla Lea Leo Leonard Lidia Lila Linda Louis Lucia Luka Mabel Mae Magnus Maja "
    "Malik Marco Margot Maria Marta Martin Matilda Maya Mei Mila Milan Miriam Naomi Nadia Nico "
    "Nina Noah Noor Nora Olga Oliver Omar Oscar Otto Pablo Paul Paula Pedro Petra Priya Rachel "
    "Rafael Ravi Rosa Ruben Ruth Sam Samira Sara Sasha Selma Simon Sofia Stella Sven Tara Tariq "
    "Theo Thomas Tomas Ursula Vera Victor Viola Walter Wanda Yara Yuki Yusuf Zara Zoe"
)
FAMILY_NAMES = _words(
    "Abbott Adeyemi Aguilar Ahmed Andersen Baker Bauer Becker Bergman Bianchi Brandt Brooks "
    "Campos Carvalho Castillo Chen Clarke Costa Cruz Daniels Delgado Diallo Dubois Duran Eriksen "
    "Farrow Fernandes Fischer Fontaine Foster Franco Garcia Grant Greene Haddad Hansen Harper "
    "Hayes Hoang Hughes Ibrahim Ito Ivanov Jansen Jensen Joshi Kaplan Keller Khan Kim Klein "
    "Kovacs Kowalski Larsen Laurent Lind Lopez Marchetti Marsh Mendes Meyer Mitchell Molina "
    "Moreau Moreno Mori Morris Mwangi Nakamura Navarro Nielsen Novak Okafor Olsen Ortiz Osei Park "
    "Parker Patel Pereira Petrov Popescu Quinn Ramos Reyes Ricci Rossi Russo Said Santos Sato "
    "Schmidt Silva Singh Sorensen Stein Suzuki Takeda Tanaka Torres Turner Ueda Vargas Vasquez "
    "Vega Vogel Wagner Walsh Wang Weber Wells Yilmaz Young Zamora Zhang"
)
# Places and people are called alike: Ashford, Blackwell, Hartley.
NAME_HEADS = _words(
    "Ash Barn Beck Birch Black Brad Bram Bright Brook Burn Chester Clay Cliff Cran Crom Dal Dean "
    "Den Dun East Elm Fair Farn Fen Green Had Hal Hart Haver Hazel Hol Kings Lang Lin Lock Long "
    "Mar Mel Mill Moor Nor Oak Pem Pen Rad Red Ridge Rock Rush Sel Sher Stan Stock Strat Thorn "
    "Wal War West Whit Win Wood"
)
NAME_TAILS = _words(
    "bourne bridge brook bury by combe cott croft dale den field ford gate ham hurst land ley low "
    "man mere more ridge ston thorpe ton ward way well wick worth"
)
ENSEMBLES = _words("band collective ensemble orchestra project quartet quintet sound trio")

ADJECTIVES = _words(
    "amber ancient blind blue bold bright broken burning careless cold crooked crystal dark deaf "
    "distant early electric empty endless faded fallen final first forgotten foreign frozen "
    "gentle golden gone green hidden hollow honest humble idle iron ivory kind last late little "
    "lonely long lost low lucky midnight modern narrow nervous new northern old open outer paper "
    "perfect plain quiet rapid ready red restless royal rusty sacred second secret silent silver "
    "simple sleepless slow small soft solar southern spare static still stolen strange sudden "
    "sweet tall tender tired torn true velvet violet warm wasted western white wicked wild winter "
    "wooden young"
)
NOUNS = _words(
    "afternoon airport alley anchor angel arrow avenue balcony beacon bell bird blossom boat bone "
    "border bridge brother candle canyon cathedral chamber child choir circle city clock cloud "
    "coast colour comet compass country crow dancer daughter dawn desert diamond door dream drum "
    "echo engine evening eye fable fever field fire flame flood flower forest fountain fox garden "
    "ghost giant glass gravity habit harbour harvest heart highway hill home horizon horse hotel "
    "hour house hunter island jacket journey key kingdom ladder lake lantern letter light lion "
    "lullaby machine magnet map market meadow memory mile mirror moment moon morning mountain "
    "mouth needle neighbour night number ocean orchard palace parade passenger photograph piano "
    "picture pilot planet poem prayer promise queen radio reason ribbon river road robin room "
    "rose sailor saint satellite sea season shadow shore signal sister sky smoke soldier song "
    "sparrow spring station stone storm story stranger street summer sun swallow telephone temple "
    "thief thread tide tiger tomorrow tower town train tunnel valley village violin voice wall "
    "wave wheel whisper wind window wire witness wolf wonder world"
)
# What a title does to a noun, and what it does alone.
TRANSITIVES = _words(
    "believe borrow break call carry catch change chase close count cross drive fight find follow "
    "forget forgive hear hide hold keep know leave lift love meet miss move need open paint "
    "remember rescue ride save see shake steal take tell touch trust watch"
)
INTRANSITIVES = _words(
    "breathe crawl dance drift drive drop fade fall float fly hide move ride roll run sail sing "
    "sleep slip stay swim turn wait walk wander"
)
DIRECTIONS = _words("again alone apart away back down forever home on slowly together tonight")
PREPOSITIONS = _words("above across after against before behind beyond for from in near under with")
MASSES = _words(
    "ash dust gold gravity honey iron ivory light love money moonlight rain salt sand silence "
    "silver sleep smoke snow starlight stone sugar thunder time water weather"
)
PLURALS = _words(
    "arrows birds brothers cousins dancers daughters diamonds dreamers engines fables flowers "
    "foxes ghosts giants horses hunters islands keys lanterns letters lions machines miles "
    "mirrors neighbours pilots planets poets promises ribbons rivals rivers roses sailors saints "
    "satellites shadows signals sisters sons sparrows strangers thieves tigers towers travellers "
    "villagers voices wolves"
)

GENRE_STEMS = _words(
    "rock pop folk jazz soul blues house techno metal punk country reggae ambient disco funk gospel"
)
