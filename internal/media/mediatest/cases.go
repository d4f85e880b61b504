package mediatest

import "slices"

// Cases are inputs that are hard to get right, each made when it is needed.
func Cases() []Case {
	return slices.Concat(tabled(), fragmented(), described(), chaptered(), matroskas(), oggs(), streams(), tagged(), otherTexts(), movieTexts(), encrypted(),
		otherChapters(), reported(), lengths(), reportedMore(), editLists(), chains(), combined())
}
